#!/usr/bin/env bash
# Finds a Chromium for the tests in a real browser, or installs Debian's, and prints where it is.
# COGNOMEGA_CHROMIUM names another one.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
find_browser() {
  local name
  for name in "${COGNOMEGA_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$name" ] && command -v "$name"; then return 0; fi
  done
  return 1
}
[ -z "${COGNOMEGA_CHROMIUM:-}" ] || command -v "$COGNOMEGA_CHROMIUM" >/dev/null \
  || fail "COGNOMEGA_CHROMIUM is '$COGNOMEGA_CHROMIUM', and there is no such program" "unset it, or name a Chromium"
find_browser && exit 0
lock_cache browser
find_browser && exit 0

need apt-get "install Chromium or Chrome, or set COGNOMEGA_CHROMIUM to one"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  { command -v sudo && sudo -n true; } >/dev/null 2>&1 || fail "there is no Chromium, and only root may install it" "sudo apt-get install chromium"
  as_root=(sudo -n)
fi
{
  printf '\033[1m==>\033[0m installing Chromium (Debian package, 100 MB) '
  export DEBIAN_FRONTEND=noninteractive
  quietly browser-lists "${as_root[@]}" apt-get update -q \
    || fail "the package lists could not be read" "read $cache_dir/browser-lists.log"
  quietly browser "${as_root[@]}" apt-get install -q -y --no-install-recommends chromium \
    || fail "Chromium could not be installed" "read $cache_dir/browser.log"
} >&2
find_browser || fail "Chromium was installed and is not there" "set COGNOMEGA_CHROMIUM to it"
