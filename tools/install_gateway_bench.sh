#!/bin/sh
# Installs what the gateway is compared with and loaded by, Debian's nginx and wrk, only when one of them is missing.
set -eu

PATH="$PATH:/usr/sbin:/usr/local/sbin"
missing=
command -v nginx >/dev/null 2>&1 || missing="nginx-light"
command -v wrk >/dev/null 2>&1 || missing="$missing wrk"
[ -n "$missing" ] || exit 0

cannot() {
    echo "bench-gateway needs nginx and wrk: $1" >&2
    echo "Install them by hand so that they are on PATH, then run the same command again." >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 || cannot "missing is $missing, and this machine has no apt-get."
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || cannot "missing is $missing, and installing it needs root or sudo."
    as_root="sudo -n"
    $as_root true 2>/dev/null || cannot "missing is $missing, and sudo asks for a password here."
fi

echo "Installing $missing from the distribution's packages ..." >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq || cannot "the package lists could not be updated."
# shellcheck disable=SC2086  # one word per package
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null || cannot "apt-get could not install them."

# The package starts a server on port 80 that nobody asked for here.
case "$missing" in
*nginx*)
    if [ -d /run/systemd/system ]; then
        $as_root systemctl disable --quiet --now nginx || true
    else
        $as_root service nginx stop >/dev/null 2>&1 || true
    fi
    ;;
esac
