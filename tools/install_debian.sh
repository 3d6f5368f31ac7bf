#!/bin/sh
# Installs Debian's packages of the named tools (chromium, nginx, wrk), only those of which no version is there.
# Usage: install_debian.sh WHO_NEEDS_THEM TOOL...
set -eu

who=$1
shift
PATH="$PATH:/usr/sbin:/usr/local/sbin"

there() {
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

missing=
packages=
for tool in "$@"; do
    case "$tool" in
    chromium)
        there chromium chromium-browser google-chrome google-chrome-stable && continue
        packages="$packages chromium fonts-dejavu-core"
        ;;
    nginx)
        there nginx && continue
        packages="$packages nginx-light"
        ;;
    *)
        there "$tool" && continue
        packages="$packages $tool"
        ;;
    esac
    missing="$missing $tool"
done
[ -n "$packages" ] || exit 0

cannot() {
    echo "$who need$missing: $1" >&2
    echo "Install by hand what is missing so that it is on PATH, then run the same command again." >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 || cannot "none was found, and this machine has no apt-get."
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || cannot "none was found, and installing needs root or sudo."
    as_root="sudo -n"
    $as_root true 2>/dev/null || cannot "none was found, and sudo asks for a password here."
fi

echo "Installing$missing from the distribution's packages ..." >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq || cannot "the package lists could not be updated."
# shellcheck disable=SC2086  # one word per package
$as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null || cannot "apt-get could not install them."

# The package of nginx starts a server on port 80 that nobody asked for here.
case "$missing" in
*nginx*)
    if [ -d /run/systemd/system ]; then
        $as_root systemctl disable --quiet --now nginx || true
    else
        $as_root service nginx stop >/dev/null 2>&1 || true
    fi
    ;;
esac
