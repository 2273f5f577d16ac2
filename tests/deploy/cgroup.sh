#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cgroup.sh BUILD: what takes all controllers of cgroup version 2, and a kernel that kills for want of memory, runs in QEMU
# with Debian's kernel; hosts and containers seldom grant them. Needs qemu-system-x86, and build/guest.
set -euo pipefail
build=$(cd "$1" && pwd)
guest=$(cd "$(dirname "$0")/../.." && pwd)/build/guest
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

command -v qemu-system-x86_64 >/dev/null || { echo "cgroup: there is no qemu-system-x86_64" >&2; exit 77; }
[ -s "$guest/vmlinuz" ] || { echo "cgroup: there is no $guest/vmlinuz (deploy/debian-guest.sh makes it)" >&2; exit 1; }

# The programs at their own paths, which tests know, and what they are linked with.
root=$scratch/root
mkdir -p "$root"/{bin,dev,etc,new,proc,root,run,sys,tmp}
(cd "$root" && zcat "$guest/initramfs.cpio.gz" | cpio --quiet -id bin/busybox)
programs=("$build"/bin/{api_test,control_test,traplined,trapline-vmm,trapline})
mapfile -t libraries < <(ldd "${programs[@]}" | awk '$2 == "=>" { print $3 } $1 ~ /^\/.*ld-/ { print $1 }' | sort -u)
for file in "${programs[@]}" "${libraries[@]}"; do
  mkdir -p "$root$(dirname "$file")"
  strip --strip-debug -o "$root$file" "$(readlink -f "$file")"
done
cp -r "$build/guests" "$root$build/"
echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
echo root:x:0: >"$root/etc/group"

# Into a tmpfs first: the root that a kernel begins with is the one that cannot be changed, which confinement does.
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t tmpfs tmpfs /new
for part in /*; do
  case $part in /new) ;; *) cp -a $part /new ;; esac
done
exec switch_root /new /main
INIT
cat >"$root/main" <<MAIN
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
export PATH=/bin HOME=/root
cd /tmp
b=$build/bin
passes() { "\$@" >/tmp/out 2>&1 && ! grep -q SKIPPED /tmp/out || { cat /tmp/out; echo "not passed: \$*"; poweroff -f; }; }
passes \$b/control_test --gtest_filter='Cgroup*'
passes \$b/api_test --gtest_filter=Exhaustion.AWorkerThatTakesMoreThanItsMemoryIsAFailureThatSaysSo
\$b/traplined --require-confinement --listen /tmp/d.sock --state-dir /tmp/s --run-dir /tmp/r >/tmp/log 2>&1 &
until [ -S /tmp/d.sock ]; do sleep 1; done
passes \$b/trapline vm create a --kernel $build/guests/idle.elf --memory 32M --host unix:///tmp/d.sock
passes \$b/trapline vm show a --host unix:///tmp/d.sock
grep Confinement: /tmp/out
head /sys/fs/cgroup/vm-a-*/*.max
echo all passed
poweroff -f
MAIN
chmod 755 "$root/init" "$root/main"
(cd "$root" && find . | cpio --quiet -o -H newc --owner 0:0) | gzip -1 >"$scratch/initramfs.gz"

timeout 500 qemu-system-x86_64 -accel tcg -cpu max -m 2048 -smp 2 -nographic -no-reboot -kernel "$guest/vmlinuz" \
  -initrd "$scratch/initramfs.gz" -append "console=ttyS0 quiet panic=-1" </dev/null | tee "$scratch/console"
grep -q "^all passed" "$scratch/console"
