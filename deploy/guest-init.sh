#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: Apache-2.0
# The guest's init: busybox, mounted pseudo file systems, and a shell on the console.
echo "init: first line"
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=linux PS1='guest# '
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
echo "init: $(uname -sr) on $(grep -c ^processor /proc/cpuinfo) vCPUs"
cat >/bin/ipis <<'P'
#!/bin/sh
# Flipping a static branch makes the kernel patch its own code and interrupt every other CPU. Usage: ipis [ROUNDS]
for i in $(seq "${1:-50}"); do
  echo 1 >/proc/sys/kernel/sched_schedstats
  echo 0 >/proc/sys/kernel/sched_schedstats
done
echo "ipis: ${1:-50} rounds done"
P
chmod 755 /bin/ipis
case " $(cat /proc/cmdline) " in
  *" trapline.poweroff "*) poweroff -f ;;
esac
echo "init: type 'ipis' to make the kernel's hypercall sites hot, 'poweroff -f' to end"
while :; do setsid cttyhack sh; done
