#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes what TLS needs to be tried out: a CA, a certificate for traplined, and one for a client of each role.
# A CA that is there already is kept and everything else made anew, so that is how to renew, also under a running daemon.
# Keys lie beside the certificates, the CA's too: for tests and trials, not for machines that matter.
set -euo pipefail

usage() {
  cat >&2 <<'USAGE'
usage: deploy/test-ca.sh [--days N] DIRECTORY [NAME...]
  NAME...   host names and addresses that traplined is reached by; localhost and 127.0.0.1 where none is given
  --days N  how long the certificates are valid (30); of a negative number they are over already
In DIRECTORY: ca.pem, server.pem, viewer.pem, operator.pem, admin.pem, each with a .key. A client's certificate has the
name dns:ROLE.clients.trapline.test, which deploy/traplined.toml gives that role.
USAGE
  exit 2
}

days=30
if [ "${1:-}" = --days ]; then
  days=${2:-}
  [[ $days =~ ^-?[0-9]+$ ]] || usage
  shift 2
fi
directory=${1:-}
[[ -n $directory && $directory != -* ]] || usage
shift
names=("$@")
[ "${#names[@]}" -gt 0 ] || names=(localhost 127.0.0.1)

command -v openssl >/dev/null || {
  echo "test-ca: openssl is missing; deploy/setup.sh installs it" >&2
  exit 1
}
umask 077
mkdir -p "$directory"
work=$(mktemp -d "$directory/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [ ! -e "$directory/ca.pem" ]; then
  new_key "$work/ca.key"
  openssl req -x509 -new -key "$work/ca.key" -days 365 -subj '/CN=Trapline test CA' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' -out "$work/ca.pem"
  mv "$work/ca.key" "$work/ca.pem" "$directory/"
fi

# issue NAME USAGE SUBJECT_ALTERNATIVE_NAMES
issue() {
  new_key "$work/$1.key"
  openssl req -new -key "$work/$1.key" -subj "/CN=$1" -out "$work/$1.csr"
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' \
    "$2" "$3" >"$work/$1.ext"
  openssl x509 -req -in "$work/$1.csr" -CA "$directory/ca.pem" -CAkey "$directory/ca.key" -CAcreateserial \
    -days "$days" -extfile "$work/$1.ext" -out "$work/$1.pem" 2>"$work/log" || {
    cat "$work/log" >&2
    exit 1
  }
  mv "$work/$1.key" "$work/$1.pem" "$directory/"
}

server_names=()
for name in "${names[@]}"; do
  if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then
    server_names+=("IP:$name")
  else
    server_names+=("DNS:$name")
  fi
done
issue server serverAuth "$(IFS=,; echo "${server_names[*]}")"
for role in viewer operator admin; do
  issue "$role" clientAuth "DNS:$role.clients.trapline.test"
done
echo "test-ca: $directory has ca, server (${names[*]}), viewer, operator and admin"
