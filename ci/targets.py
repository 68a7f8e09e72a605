#!/usr/bin/env python3
"""Prints what the conformance workflow tests, as JSON: each kernel of kernel-configs/kernels.toml, and the default
one on further architectures, each with the runner that has it."""

import json
import pathlib
import tomllib

# Where a guest of the architecture has KVM, if anywhere: s390x and riscv64 are emulated.
RUNNERS = {
    "x86_64": "ubuntu-24.04",
    "aarch64": "ubuntu-24.04-arm",
    "s390x": "ubuntu-24.04",
    "riscv64": "ubuntu-24.04",
    "i386": "ubuntu-24.04",
}
# Those that are the runner's own: what is built for the host runs in their guests, too.
OWN = {"x86_64", "aarch64"}

root = pathlib.Path(__file__).resolve().parent.parent
kernels = tomllib.loads((root / "kernel-configs/kernels.toml").read_text())
targets = [(kernel["name"], "x86_64") for kernel in kernels["kernel"]]
targets += [(kernels["default"], arch) for arch in RUNNERS if arch != "x86_64"]
rows = [
    {
        "kernel": kernel,
        "arch": arch,
        "runner": RUNNERS[arch],
        "own": arch in OWN,
        "default": kernel == kernels["default"],
    }
    for kernel, arch in targets
]
print(json.dumps(rows))
