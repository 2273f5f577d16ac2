#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and demonstrating Trapline needs on Debian 12. Safe to run again: does nothing
# where nothing is missing.
set -euo pipefail

packages=(
  build-essential cmake ninja-build ccache pkg-config git ca-certificates
  libgrpc++-dev libgrpc-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libabsl-dev libspdlog-dev libzydis-dev libcli11-dev libsqlite3-dev libncurses-dev libarchive-dev prometheus-cpp-dev
  libseccomp-dev libsystemd-dev libtomlplusplus-dev libssl-dev openssl
  libgtest-dev libgmock-dev libcurl4-openssl-dev libbenchmark-dev prometheus python3 tmux
  cpio gzip dpkg dpkg-dev file fakeroot help2man lintian man-db libxml2-utils
  clang clang-format clang-tidy libclang-rt-14-dev llvm shellcheck similarity-tester
  systemd systemd-container mmdebstrap buildah docker-compose
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "setup: every package is there"
  exit 0
fi

run=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "setup: these packages are missing and only root may install them: ${missing[*]}" >&2
    exit 1
  }
  run=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${run[@]}" apt-get update -qq
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"

# The tests run Prometheus by themselves; its service would be one that nobody here asked for.
if [[ " ${missing[*]} " == *" prometheus "* && -d /run/systemd/system ]]; then
  "${run[@]}" systemctl disable --now prometheus
fi
