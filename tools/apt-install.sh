#!/usr/bin/env bash
# apt-install.sh PACKAGE…: installs those Debian packages that are missing; says so, tries a flaky mirror again.
set -euo pipefail

missing=()
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || {
  echo "set-up: needs ${missing[*]}; this system has no apt-get: install them by its own means" >&2
  exit 1
}

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
echo "set-up: ${as_root[*]} apt-get install ${missing[*]}" >&2

export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3; do
  if "${as_root[@]}" apt-get -qq -o Acquire::Retries=5 update >&2 &&
    "${as_root[@]}" apt-get -qq -o Acquire::Retries=5 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" >/dev/null; then
    exit 0
  fi
  echo "set-up: apt failed (try $attempt of 3)" >&2
  sleep 5
done
exit 1
