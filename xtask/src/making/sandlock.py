"""Runs a program in sandlock, which has no command line of its own, with the standard streams of this one."""
import sys
from importlib.metadata import version

import sandlock

have, need = sandlock.landlock_abi_version(), sandlock.min_landlock_abi()
if have < need:
    is_there = f"ABI {have}" if have > 0 else "none"
    sys.exit(
        f"sandlock needs Landlock of ABI {need} or later (Linux 6.12 or later with CONFIG_SECURITY_LANDLOCK, and "
        f"landlock in lsm= or CONFIG_LSM); this kernel has {is_there}"
    )
if sys.argv[1:] == ["--version"]:
    print("sandlock", version("sandlock"))
else:
    sys.exit(sandlock.Sandbox(fs_readable=["/"]).run_interactive(sys.argv[1:]))
