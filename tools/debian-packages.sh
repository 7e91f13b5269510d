#!/bin/sh
# Installs the Debian or Ubuntu packages that the tests use where they are there, beyond git, make, python3 and
# python3-venv. hwdiag needs none of them; a test that lacks one is skipped and says so.
set -eu

# One package a line; alternatives are other names of the same thing (Debian 13 and Ubuntu 24.04 renamed some), first
# wanted first. "optional" ones may be missing from a distribution: Ubuntu's Chromium is a snap and not used here.
wanted='
required build-essential
required shellcheck
required numactl
required util-linux
required qemu-user
required qemu-system-x86
required qemu-utils
required mmdebstrap
required acpica-tools
required libjemalloc2
required libtcmalloc-minimal4t64 libtcmalloc-minimal4
optional chromium
optional slurmctld
optional slurmd
optional slurm-client
'

command -v apt-get >/dev/null || {
    echo 'error: no apt-get here; install by hand: gcc, shellcheck, numactl, qemu, jemalloc, tcmalloc, chromium, slurm' >&2
    exit 1
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# missing NAME...: whether none of these names is installed
missing() {
    for name; do
        if installed "$name"; then return 1; fi
    done
}

# available NAME...: prints the first of these names that apt-get could install
available() {
    for name; do
        if LC_ALL=C apt-cache policy "$name" | grep -q '^  Candidate: [^(]'; then
            echo "$name"
            return
        fi
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

lacking=$(echo "$wanted" | while read -r need names; do
    # shellcheck disable=SC2086  # names are words
    if [ -n "$need" ] && missing $names; then echo "$need $names"; fi
done)
if [ -z "$lacking" ]; then
    echo 'Debian packages: all there'
    exit 0
fi

echo 'Debian packages: apt-get update'
as_root apt-get -q -q -o Acquire::Retries=3 update
chosen=$(echo "$lacking" | while read -r need names; do
    # shellcheck disable=SC2086
    if available $names; then
        :
    elif [ "$need" = required ]; then
        echo "error: this distribution has no package $names" >&2
        echo '!'
    else
        echo "Debian packages: no $names here; tests that use it are skipped" >&2
    fi
done)
case $chosen in
*!*) exit 1 ;;
'') exit 0 ;;
esac
# shellcheck disable=SC2086
echo "Debian packages: apt-get install" $chosen
# shellcheck disable=SC2086
as_root apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends $chosen </dev/null
