#!/usr/bin/env python3
"""Prints the names in kernel-configs/kernels.toml as JSON: the matrix of the conformance workflow."""

import json
import pathlib
import tomllib

root = pathlib.Path(__file__).resolve().parent.parent
kernels = tomllib.loads((root / "kernel-configs/kernels.toml").read_text())
print(json.dumps([kernel["name"] for kernel in kernels["kernel"]]))
