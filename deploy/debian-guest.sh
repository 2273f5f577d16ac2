#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches Debian's own cloud kernel and busybox with apt, unpacks them without installing, and packs an initramfs
# that ends in a shell on the serial console. Leaves DIRECTORY/vmlinuz and DIRECTORY/initramfs.cpio.gz.
set -euo pipefail

if [ $# -ne 1 ] || [ "$1" = --help ]; then
  echo "usage: $0 DIRECTORY" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
if [ -s "$out/vmlinuz" ] && [ -s "$out/initramfs.cpio.gz" ]; then
  echo "guest: $out is ready"
  exit 0
fi
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1
}
if [ -z "$(kernel_package)" ]; then
  echo "guest: apt knows no linux-image-cloud-amd64 yet; updating its lists"
  if [ "$(id -u)" -eq 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
fi
package=$(kernel_package)
[ -n "$package" ] || {
  echo "guest: apt has no linux-image-cloud-amd64 (is this Debian 12 on amd64?)" >&2
  exit 1
}

echo "guest: fetching $package and busybox-static"
(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package" busybox-static)
for archive in "$work"/*.deb; do dpkg-deb -x "$archive" "$work/tree"; done

root="$work/root"
mkdir -p "$root"/{bin,dev,proc,sys,tmp}
cp "$work/tree/bin/busybox" "$root/bin/busybox"
cp "$here/guest-init.sh" "$root/init"
chmod 755 "$root/init" "$root/bin/busybox"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner 0:0) | gzip -9n >"$out/initramfs.cpio.gz.new"
cp "$work"/tree/boot/vmlinuz-* "$out/vmlinuz"
mv "$out/initramfs.cpio.gz.new" "$out/initramfs.cpio.gz"
echo "guest: $out/vmlinuz is $package, $out/initramfs.cpio.gz is busybox"
