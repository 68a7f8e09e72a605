#!/bin/sh
# Judges the kernel that runs here by the contract of netlink: KTAP on standard output, or with FORMAT=tap the TAP of
# the kernel's selftests, and everything else on standard error. Exit status 0 when all cases passed, 1 when one
# failed, 2 when nothing could be judged.
#
#   EXPENDABLE=1 ./run.sh [FILTER]...     see ./nlconform run --help for filters
#
# EXPENDABLE=1 says that nobody needs this machine: the probe is loaded, through which root can crash the kernel,
# and cases that flood it are run. Without it they are skipped. KDIR is where modules are built for this kernel.
cd "$(dirname "$0")" || exit 2
[ "$(id -u)" = 0 ] || { echo "run.sh: the suite runs as root" >&2; exit 2; }
if [ "$EXPENDABLE" = 1 ]; then
    set -- --invasive "$@"
    if [ ! -e /dev/nlprobe ]; then
        [ -e probe/nlprobe.ko ] || make -C probe ${KDIR:+KDIR="$KDIR"} >&2
        insmod probe/nlprobe.ko expendable=1 >&2 || echo "run.sh: no probe: cases that need it are skipped" >&2
    fi
fi
exec ./nlconform run --format "${FORMAT:-ktap}" "$@"
