#!/bin/bash
# build.sh FOLDER: makes a small Debian guest of this machine's own release, for amd64, in an empty folder: vmlinuz,
# initrd.img and root.img. Needs root and Debian's mmdebstrap and e2fsprogs. About 30 s and 1 GB; nothing is installed on
# this machine, and nothing is mounted.
set -euo pipefail
cd "$1"
. /etc/os-release

# Where this machine gets its packages from is where the guest gets them from.
sources=()
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [ -s "$file" ]; then
        sources=("$file")
        break
    fi
done

# systemd and udev, because settings are kept over a reboot through them; the independent programs that facts are
# compared with; python3 for a venv that the guest shares. The kernel is only unpacked: its package would want an
# initramfs generator and take a minute for a large initrd.
packages=systemd,systemd-sysv,udev,dbus,procps,kmod,util-linux,iproute2,bash,python3,numactl,hwloc-nox,qemu-guest-agent
packages+=,openssh-server # off, until a test wants it
cat >unpack <<'EOS'
set -eu
cd "$1/root"
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-[0-9]/ { print $2; exit }')
apt-get -q -q -o APT::Sandbox::User=root download "$kernel" busybox-static
for package in *.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$1"; done
rm -- *.deb
EOS
mmdebstrap --quiet --mode=root --variant=minbase --architectures=amd64 --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' --customize-hook="sh $PWD/unpack \"\$1\"" \
    "$VERSION_CODENAME" root "${sources[@]}"
release=$(basename root/lib/modules/*)
mv "root/boot/vmlinuz-$release" vmlinuz
rm -r root/boot/* root/var/cache/apt root/var/lib/apt/lists root/usr/share/{doc,locale,man} unpack

# Drivers that a guest never needs are half of the image.
drivers=root/lib/modules/$release/kernel/drivers
rm -r "root/lib/modules/$release/kernel/sound" "$drivers"/{gpu,iio,infiniband,media,staging,net/ethernet,net/wireless}
chroot root depmod "$release"

chroot root passwd --quiet --delete root
echo guest >root/etc/hostname
echo 127.0.0.1 localhost guest >root/etc/hosts
: >root/etc/fstab
rm -f root/etc/systemd/system/{sshd.service,multi-user.target.wants/ssh.service}
rm -f root/etc/machine-id && systemd-id128 new >root/etc/machine-id
for unit in getty.target serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
    e2scrub_reap.service systemd-networkd.service; do
    ln -sf /dev/null "root/etc/systemd/system/$unit"
done

# An initrd of busybox, the modules that the root disk needs, in the order that they need each other, and three commands.
mkdir -p initrd/{bin,dev,modules,new}
cp root/bin/busybox initrd/bin/
ln -s busybox initrd/bin/sh
number=10
chroot root modprobe --set-version "$release" --all --show-depends virtio_pci virtio_blk ext4 crc32c_generic |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r module; do
        cp "root$module" "initrd/modules/$((number++))-$(basename "$module")"
    done
cat >initrd/init <<'EOS'
#!/bin/sh
PATH=/bin
busybox mount -t devtmpfs dev /dev
for module in /modules/*; do busybox insmod "$module"; done
until [ -b /dev/vda ]; do busybox sleep 0.05; done
busybox mount -t ext4 -o noatime /dev/vda /new
busybox mount --move /dev /new/dev
exec busybox switch_root /new /sbin/init
EOS
chmod +x initrd/init
(cd initrd && find . | ../root/bin/busybox cpio -o -H newc 2>/dev/null) | gzip -1 >initrd.img

truncate -s 1500M root.img
mke2fs -q -t ext4 -E root_owner=0:0 -d root root.img
rm -r root initrd
