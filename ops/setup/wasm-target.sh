#!/usr/bin/env bash
# Gives the pinned compiler the standard library of wasm32-unknown-unknown: from rustup where rustup may
# install things, otherwise built from Debian's source package of exactly the compiler's version.
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
need cargo "install Rust $RUST_VERSION with your package manager or rustup, then run the same command again"
cd "$repo_dir"

found="$(rustc --version 2>/dev/null | cut -d' ' -f2)" \
  || fail "rustc does not start in this folder" "install the toolchain named in rust-toolchain.toml ($RUST_VERSION)"
[ "$found" = "$RUST_VERSION" ] || fail "rustc is $found and the project is pinned to $RUST_VERSION" \
  "install Rust $RUST_VERSION (rust-toolchain.toml names it, so rustup picks it up by itself)"

sysroot="$(rustc --print sysroot)"
target_dir="$sysroot/lib/rustlib/wasm32-unknown-unknown/lib"
present() { compgen -G "$target_dir/libstd-*.rlib" >/dev/null; }
present && exit 0
lock_cache wasm-target
present && exit 0

if [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ] && command -v rustup >/dev/null 2>&1; then
  step "adding the wasm32 target with rustup"
  rustup target add wasm32-unknown-unknown && present && exit 0
fi

step "building the wasm32 standard library from Debian's rust-src $RUST_VERSION (about two minutes)"
need apt-get "this machine has neither a rustup that may install nor apt: add the target wasm32-unknown-unknown to your toolchain by hand"
need cc "install a C compiler: apt-get install build-essential"
[ -w "$sysroot/lib/rustlib" ] || fail "the folder $sysroot/lib/rustlib is not writable" \
  "run 'rustup target add wasm32-unknown-unknown', or run make once as the owner of the toolchain"

work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
# A private apt state, so that the machine's own package lists stay as they are. The archive's address is the
# one the machine already uses.
site="$(apt-get indextargets --format '$(SITE)|$(CREATED_BY)|$(ORIGIN)' | awk -F'|' '$2=="Packages" && $3=="Debian" {print $1; exit}')"
[ -n "$site" ] || site="$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep -E '/debian/?$' | head -n 1)"
[ -n "$site" ] || fail "apt knows no Debian archive" "run 'apt-get update' once, then the same command again"
keyring="$(ls /usr/share/keyrings/debian-archive-keyring.* 2>/dev/null | head -n 1)"
[ -n "$keyring" ] || fail "Debian's archive keyring is missing" "apt-get install debian-archive-keyring"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/src"
echo "deb [signed-by=$keyring] $site trixie-backports main" >"$work/sources.list"
apt_private=(-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
  -o Dir::Cache="$work/cache" -o APT::Sandbox::User=)
printf '    package list '
quietly wasm-target-lists apt-get "${apt_private[@]}" update \
  || fail "the package list of trixie-backports could not be read" "check the network, then run the same command again"
printf '    download '
(cd "$work" && quietly wasm-target-download apt-get "${apt_private[@]}" download "rust-src=$RUST_VERSION*") \
  || fail "rust-src $RUST_VERSION is not in trixie-backports" "run 'rustup target add wasm32-unknown-unknown'"
dpkg -x "$work"/rust-src_*.deb "$work/src"
library="$work/src/usr/src/rustc-$RUST_VERSION/library"
[ -f "$library/Cargo.lock" ] || fail "Debian's rust-src has no library/Cargo.lock" "run 'rustup target add wasm32-unknown-unknown'"
rm -rf "$sysroot/lib/rustlib/src/rust/library"
mkdir -p "$sysroot/lib/rustlib/src/rust"
cp -r "$library" "$sysroot/lib/rustlib/src/rust/library"

mkdir -p "$work/empty/src"
printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\npanic = "abort"\n' >"$work/empty/Cargo.toml"
printf '#![no_std]\n' >"$work/empty/src/lib.rs"
cp "$repo_dir/rust-toolchain.toml" "$work/empty/"
# The bitcode is needed by our own link-time optimisation later.
printf '    build '
(cd "$work/empty" && CARGO_TARGET_DIR="$work/target" RUSTFLAGS="-Cembed-bitcode=yes" RUSTC_BOOTSTRAP=1 \
  quietly wasm-target-build cargo build --release -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown) \
  || fail "the standard library did not build" "read $cache_dir/wasm-target-build.log"
mkdir -p "$target_dir"
for rlib in "$work"/target/wasm32-unknown-unknown/release/deps/*.rlib; do
  case "$rlib" in */libempty-*) ;; *) cp "$rlib" "$target_dir/" ;; esac
done
present || fail "the build left no libstd in $target_dir" "read $cache_dir/wasm-target-build.log"
