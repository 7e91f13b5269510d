#!/bin/bash
# arm64.sh FOLDER: unpacks this machine's own Debian release of Python for AArch64, and what that needs, into an empty
# folder, for qemu-aarch64. Nothing of it is run here, so that neither a kernel nor binfmt is needed. Needs root and
# Debian's mmdebstrap. About 15 s and 75 MB.
set -euo pipefail
cd "$1"
. /etc/os-release
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ ! -s "$file" ] || break
done
mmdebstrap --quiet --mode=root --variant=extract --architectures=arm64 --include=python3 \
    --aptopt='APT::Install-Recommends "false"' "$VERSION_CODENAME" root "$file"
mv root/* .
rmdir root
