#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# container.sh BUILD: a Debian 12 boots under a systemd of its own; the package is installed there, runs VMs, is upgraded
# beneath them, hangs, crashes, is removed and purged. Needs root, and Debian's mirror when run for the first time.
set -euo pipefail
build=$1
debs=$build/package/debs
cache=$build/package/debian-root
scratch=$(mktemp -d)
container=

fail() { echo "container: $*" >&2; inside journalctl -u traplined --no-pager -n 40 >&2 || true; exit 1; }
step() { echo "== $*"; }
inside() {
  nsenter -t "$leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}
# Waits for something to become so that nobody announces.
eventually() {
  local deadline=$((SECONDS + 60))
  until "$@"; do
    [ $SECONDS -lt $deadline ] || fail "never came true: $*"
    sleep 0.1
  done
}
finish() {
  if [ -n "$container" ]; then kill -KILL "$leader" 2>/dev/null || true; wait "$container" || true; fi
  rm -rf "$scratch"
}

[ "$(id -u)" -eq 0 ] || { echo "container: only root can boot one" >&2; exit 77; }

# What the package depends on, by the first alternative of each.
dependencies=$(dpkg-deb -f "$debs/trapline_1.0_amd64.deb" Depends | tr ',' '\n' | sed 's/([^)]*)//g; s/|.*//; s/ //g' | paste -sd,)
wanted=systemd-sysv,dbus,$dependencies
if [ ! -f "$cache.tar" ] || [ "$(cat "$cache.packages")" != "$wanted" ]; then
  step "Debian 12 with systemd and what the package depends on"
  mmdebstrap --quiet --variant=minbase --include="$wanted" bookworm "$cache.tar"
  echo "$wanted" >"$cache.packages"
fi

step "boot"
root=$scratch/root
mkdir "$root"
tar -C "$root" -xf "$cache.tar"
cp "$debs"/*.deb "$root/srv/"
cp "$build"/guests/{idle,hello,hostile}.elf "$root/srv/"
mkfifo "$scratch/booted"
cat >"$root/etc/systemd/system/booted.service" <<'UNIT'
[Unit]
After=basic.target dbus.service
[Service]
ExecStart=/bin/sh -c 'echo yes >/run/host-booted'
[Install]
WantedBy=multi-user.target
UNIT
ln -s ../booted.service "$root/etc/systemd/system/multi-user.target.wants/booted.service"
leader=0
trap finish EXIT
systemd-nspawn --quiet -D "$root" --boot --register=no --keep-unit --bind="$scratch/booted:/run/host-booted" \
  >"$scratch/console" 2>&1 </dev/null &
container=$!
read -r -t 120 _ <>"$scratch/booted" || { cat "$scratch/console" >&2; container=; echo "container: it did not boot" >&2; exit 1; }
leader=$(<"/proc/$container/task/$container/children")
leader=${leader%% *}

step "install"
inside dpkg -i /srv/trapline_1.0_amd64.deb
for unit in traplined.socket traplined.service; do
  inside systemctl is-active --quiet "$unit" || fail "$unit was not started"
  inside systemctl is-enabled --quiet "$unit" || fail "$unit would not start at boot"
done
[ "$(inside systemctl show -P StatusText traplined)" = "0 VMs, 0 running" ] || fail "it does not say how many VMs it has"
[ "$(inside stat -c '%U %a' /run/trapline/traplined.sock)" = "trapline 660" ] || fail "its socket is not its own"
inside systemd-analyze verify --man=no traplined.service traplined.socket trapline-vms.service || fail "systemd finds fault with the units"
! inside setpriv --reuid=nobody --clear-groups trapline vm ls 2>/dev/null || fail "anybody may control it"

step "VMs, under all restrictions of the unit"
engines=(soft)
if inside trapline host | grep -qE '^direct +yes'; then engines+=(direct); fi
for engine in "${engines[@]}"; do
  inside trapline run --engine "$engine" /srv/hello.elf | grep 'hello from a guest' >/dev/null || fail "$engine runs nothing"
  inside trapline vm create "$engine" --engine "$engine" --kernel /srv/idle.elf --memory 16M
  inside trapline vm start "$engine"
done
if [ "${#engines[@]}" -eq 2 ]; then
  # System calls of each ABI end in the guest's own fault, not in a filter of systemd's that kills.
  inside trapline run --engine direct --memory 64M /srv/hostile.elf --append syscalls | grep -E 'stood [1-9]' >/dev/null ||
    fail "a filter of the unit comes before the engine's"
fi

workers() { inside sh -c 'grep -lx trapline-vmm /proc/[0-9]*/comm'; }
main_pid() { inside systemctl show -P MainPID traplined; }
# Each is the process that it was, and does what it is told. The daemon's zygote looks like one more worker at first.
all_run() {
  local engine
  [ "$(workers)" = "$before" ] || return 1
  for engine in "${engines[@]}"; do
    inside trapline vm show "$engine" -o json | grep -q '"RUNNING"' || return 1
    inside trapline vm pause "$engine" >/dev/null && inside trapline vm resume "$engine" >/dev/null || return 1
  done
}
before=$(workers)
[ "$(wc -l <<<"$before")" -eq "${#engines[@]}" ] || fail "these are not the VMs' workers: $before"

step "upgrade with VMs running"
daemon=$(main_pid)
echo 'TRAPLINED_OPTIONS=--max-vms=77' >"$root/etc/default/traplined"
inside dpkg -i /srv/trapline_1.1_amd64.deb
[ "$(inside dpkg-query -W -f "\${Version}" trapline)" = 1.1 ] || fail "it is not the new version"
[ "$(main_pid)" != "$daemon" ] || fail "the old daemon runs on"
eventually all_run
inside trapline host | grep -q '77 VMs' || fail "the administrator's options are lost, or not passed on"

step "a daemon that crashes, and one that hangs"
restarted() { [ "$(inside systemctl show -P NRestarts traplined)" = "$1" ] && inside systemctl is-active --quiet traplined; }
inside sh -c "kill -KILL $(main_pid)"
eventually restarted 1
eventually all_run
mkdir "$root/etc/systemd/system/traplined.service.d"
printf '[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\n' >"$root/etc/systemd/system/traplined.service.d/test.conf"
inside systemctl daemon-reload
inside systemctl restart traplined
inside sh -c "kill -STOP $(main_pid)"
eventually restarted 1
[ "$(inside systemctl show -P Result traplined)" = success ] || fail "it did not come back"
inside journalctl -u traplined --no-pager | grep -q 'Watchdog timeout' || fail "it was not the watchdog"
eventually all_run

step "no daemon: clients wait at the socket, and start one"
daemon=$(main_pid)
inside systemctl stop traplined.service
inside test -S /run/trapline/traplined.sock || fail "the socket went with the daemon"
inside trapline vm ls >/dev/null || fail "no daemon came to a client"
[ "$(main_pid)" != "$daemon" ] || fail "it was never stopped"
eventually all_run

# Only where this host leaves the controllers to cgroup version 2.
if inside grep -qsw memory /sys/fs/cgroup/cgroup.controllers; then
  step "VMs in cgroups of their own, beside the daemon's"
  for engine in "${engines[@]}"; do
    inside trapline vm show "$engine" -o json | grep -q 'at most [0-9]* processors' || fail "VM $engine has no limits"
  done
  [ "$(inside sh -c 'ls -d /sys/fs/cgroup/trapline.slice/trapline-vms.service/vm-* | wc -l')" -eq "${#engines[@]}" ] ||
    fail "they are not in the cgroup that is for them"
fi

step "remove and purge"
inside dpkg -r trapline
processes() { inside sh -c 'grep -l trapline /proc/[0-9]*/comm' || true; }
none() { [ -z "$(processes)" ]; }
eventually none
[ -e "$root/var/lib/trapline/vms.sqlite" ] || fail "removing took the VMs' definitions away"
rm -r "$root/etc/systemd/system/traplined.service.d"
inside dpkg -P trapline
left=$(inside find / -xdev -path /srv -prune -o -path /proc -prune -o -name '*trapline*' -print; inside find /run -name '*trapline*')
[ -z "$left" ] || fail "purging left $left"
! inside getent passwd trapline || fail "purging left the user"
! inside getent group trapline || fail "purging left the group"
[ -z "$(inside systemctl --failed --plain --no-legend)" ] || fail "a unit failed: $(inside systemctl --failed --plain)"

inside systemctl poweroff || true  # the answer may be lost in what it asks for
wait "$container" || true
container=
