#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# image.sh BUILD: builds deploy/Dockerfile's image and runs VMs in it. Its last stage is built as it is written; in the place
# of its first, which compiles, stand the packages that were made already, and Debian's own image is made with mmdebstrap.
# Needs root, and Debian's mirror.
set -euo pipefail
build=$1
base=$build/package/debian-slim.tar
source=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" -eq 0 ] || { echo "image: only root can build one here" >&2; exit 77; }
scratch=$(mktemp -d)
container=
images() { buildah --root "$scratch/storage" --runroot "$scratch/run" --storage-driver vfs "$@"; }
finish() {
  [ -z "$container" ] || images rm "$container" >/dev/null
  rm -rf "$scratch"
}
trap finish EXIT
fail() { echo "image: $*" >&2; exit 1; }

[ -f "$base" ] || mmdebstrap --quiet --variant=minbase bookworm "$base"
container=$(images from scratch)
images add --quiet "$container" "$base" / >/dev/null
images commit --quiet --rm "$container" docker.io/library/debian:12-slim >/dev/null
container=

mkdir -p "$scratch/built/package"
cp "$build/package/debs/trapline_1.0_amd64.deb" "$scratch/built/package/"
images build --quiet --pull=never --isolation chroot --build-context "build=$scratch/built" -t trapline -f "$source/deploy/Dockerfile" "$source"

container=$(images from --pull=never localhost/trapline)
[ "$(images inspect --type image --format '{{.OCIv1.Config.User}}' localhost/trapline)" = trapline ] || fail "it runs as root"
inside() { images run --isolation chroot --user "$1" "$container" -- "${@:2}"; }
# shellcheck disable=SC2016  # the inner shell's
needless=$(inside root sh -c 'for program in cc c++ ld cmake systemctl; do command -v $program || true; done')
[ -z "$needless" ] || fail "it has $needless in it"
mapfile -t entry < <(images inspect --type image --format '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}' localhost/trapline | sed '/^$/d')
# shellcheck disable=SC2016  # the inner shell's
inside trapline sh -c '
  "$@" --metrics-listen 0 &
  daemon=$!
  for _ in $(seq 600); do trapline host >/dev/null 2>&1 && break; kill -0 $daemon || exit 1; sleep 0.1; done
  trapline run --engine soft /usr/share/trapline/guests/hello.elf
  kill $daemon && wait $daemon' sh "${entry[@]}" | tee "$scratch/said"
grep -q 'hello from a guest' "$scratch/said" || fail "no VM runs in it"

# The package's scripts do without systemd.
inside root dpkg --purge trapline
left=$(inside root find / -xdev -path /proc -prune -o -name '*trapline*' ! -path '/run/trapline' ! -path /var/lib/trapline -print)
[ -z "$left" ] || fail "purging left $left"
! inside root getent passwd trapline || fail "purging left the user"
