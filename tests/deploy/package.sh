#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# package.sh BUILD: packs the build as two versions into BUILD/package/debs, and looks at what is in them.
set -euo pipefail
build=$1
debs=$build/package/debs
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "package: $*" >&2; exit 1; }

rm -rf "$debs"
mkdir -p "$debs"
for version in 1.0 1.1; do
  (cd "$build" && cpack -G DEB -D CPACK_PACKAGE_VERSION=$version -B "$scratch/$version" >"$scratch/log" 2>&1) ||
    { cat "$scratch/log" >&2; fail "cpack of $version failed"; }
  cp "$scratch/$version/trapline_${version}_amd64.deb" "$debs/"
done

package=$debs/trapline_1.0_amd64.deb
# Who packs it for others says whom to write to; a package that is made in passing has nobody.
lintian --fail-on error,warning --allow-root --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact \
  "$package"

dpkg-deb -x "$package" "$scratch/root"
source=$(cd "$(dirname "$0")/../.." && pwd)
for program in usr/bin/trapline usr/sbin/traplined usr/libexec/trapline/trapline-vmm; do
  [ -x "$scratch/root/$program" ] || fail "$program is missing"
  ! readelf -d "$scratch/root/$program" | grep -E 'RPATH|RUNPATH' || fail "$program has a run path"
done
find "$scratch/root" -name '*.gz' -exec gunzip -k {} +
! grep -arlF "$source/" "$scratch/root" || fail "these name the folder they were built in, $source"
# The completion is bash, and completes.
completed=$(bash -c "source '$scratch/root/usr/share/bash-completion/completions/trapline'
  COMP_WORDS=(trapline sit) COMP_CWORD=1; _trapline; echo \"\${COMPREPLY[*]}\"")
[ "$completed" = sites ] || fail "completing 'trapline sit' gives '$completed'"
for page in man1/trapline.1 man8/traplined.8; do
  man --warnings -l "$scratch/root/usr/share/man/$page.gz" >"$scratch/page" 2>"$scratch/warnings" || fail "$page is no page"
  [ ! -s "$scratch/warnings" ] || fail "$page: $(cat "$scratch/warnings")"
  grep -q '^OPTIONS' "$scratch/page" || fail "$page has no options"
done
