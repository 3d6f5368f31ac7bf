#!/bin/sh
# Installs Debian's Chromium for the browser tests, only when neither Chromium nor Chrome is there.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done

cannot() {
    echo "The browser tests need Chromium: $1" >&2
    echo "Install Chromium or Chrome by hand so that it is on PATH, then run the same command again." >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 || cannot "none was found, and this machine has no apt-get."
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || cannot "none was found, and installing it needs root or sudo."
    as_root="sudo -n"
    $as_root true 2>/dev/null || cannot "none was found, and sudo asks for a password here."
fi

echo "Installing Chromium from the distribution's packages ..." >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq || cannot "the package lists could not be updated."
$as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
    cannot "apt-get could not install it."
