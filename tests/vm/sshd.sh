#!/bin/bash
# sshd.sh FOLDER: unpacks Debian's OpenSSH server into an empty folder, for tests that log in over the loopback. Nothing
# is installed or started. About a second and 2 MB.
set -euo pipefail
cd "$1"
apt-get -q -q -o APT::Sandbox::User=root download openssh-server openssh-sftp-server libwrap0
for package in *.deb; do dpkg-deb -x "$package" .; done
rm -- *.deb
