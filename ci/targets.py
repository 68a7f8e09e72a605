#!/usr/bin/env python3
"""Prints what the conformance workflow tests, as JSON: each kernel of kernel-configs/kernels.toml, and the default
one on further architectures, each with the runner that has it."""

import json
import pathlib
import tomllib

# Where a guest of the architecture has KVM, if anywhere: s390x is emulated.
RUNNERS = {"x86_64": "ubuntu-24.04", "aarch64": "ubuntu-24.04-arm", "s390x": "ubuntu-24.04"}

root = pathlib.Path(__file__).resolve().parent.parent
kernels = tomllib.loads((root / "kernel-configs/kernels.toml").read_text())
targets = [(kernel["name"], "x86_64") for kernel in kernels["kernel"]]
targets += [(kernels["default"], arch) for arch in RUNNERS if arch != "x86_64"]
print(json.dumps([{"kernel": kernel, "arch": arch, "runner": RUNNERS[arch]} for kernel, arch in targets]))
