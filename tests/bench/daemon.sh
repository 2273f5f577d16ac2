# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For the scripts here, which source it from the top of the tree: a traplined of their own on $TRAPLINE_HOST with $scratch
# to write to, the programs of $build on the path, and $daemon, its process. All of it goes when the script ends.
build=${BUILD:-build/release}
scratch=$(mktemp -d)
export TRAPLINE_HOST=unix://$scratch/d.sock PATH=$PWD/$build/bin:$PATH
# shellcheck disable=SC2086,SC2154  # DAEMON_OPTIONS is a list
traplined --listen "$TRAPLINE_HOST" --run-dir "$scratch/run" --state-dir "$scratch/state" --on-exit stop ${DAEMON_OPTIONS:-} 2>"$scratch/log" &
daemon=$!
trap 'kill $daemon 2>/dev/null; wait $daemon || true; rm -rf "$scratch"' EXIT
until trapline host >/dev/null 2>&1; do
  kill -0 "$daemon" 2>/dev/null || { echo "$0: traplined does not run; is it built?" >&2; exit 1; }
  sleep 0.05
done
median() { tr ' ' '\n' | grep -v '^$' | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
