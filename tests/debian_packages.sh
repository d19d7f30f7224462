#!/usr/bin/env bash
# Debian's packages that some tests need, as root or with password-less sudo.
# usage: tests/debian_packages.sh PACKAGE...
set -euo pipefail

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }
as_root() { if ((EUID)); then sudo -n "$@"; else "$@"; fi; }

installed=$(dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | grep -c ' installed$' || true)
((installed < $#)) || exit 0
command -v apt-get >/dev/null || die "no apt-get here; install $* yourself"
as_root true 2>/dev/null || die "not root and no password-less sudo: sudo apt-get install $*"
# A package's own daemon would start on its standard ports; policy-rc.d keeps it from that where there is an init.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod +x "$policy"
fi
as_root apt-get update -qq || true   # an index out of reach need not be the one that has the packages
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
  die "apt-get could not install $*"
