#!/usr/bin/env bash
# Writes the proof that is committed with every change of wrangler.toml, DNS or routes: what the deployment answers now,
# what the repository says about routing, and the checklist to tick by hand.
#
#   ops/probes/route-audit.sh https://api.cognomega.com https://app.cognomega.com [folder]
#
# The file goes to ops/proofs, or to the folder.
set -euo pipefail
base="${1:-https://api.cognomega.com}"; base="${base%/}"
origin="${2:-https://app.cognomega.com}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"; repo="$here/../.."
folder="${3:-$repo/ops/proofs}"
file="$folder/api-route-audit-$(date -u +%Y%m%d-%H%M%S).txt"
ask() { curl -sS --max-time 60 "$@"; }
bound="$(ask "$base/api/ai/binding")"
keys="$(ask "$base/.well-known/jwks.json")"
preflight="$(ask -o /dev/null -D - -X OPTIONS "$base/api/si/ask" -H "Origin: $origin" \
  -H 'Access-Control-Request-Method: POST' \
  -H 'Access-Control-Request-Headers: Content-Type, X-User-Email, X-Intelligence-Tier' | tr -d '\r')"
name="${base#*://}"; name="${name%%[:/]*}"
address="$(ask -o /dev/null -w '%{remote_ip}' "$base/healthz")"
# What says where a Worker is reached: at the top of the file and of each environment. Bindings have names too.
routing() { awk '/^\[/ { other = !/^\[env\.[^.]*\]/ } !other && /^(name|routes|workers_dev|preview_urls) *=/ { print NR ":" $0 }' "$1"; }
tick() { case "$1" in *"$2"*) printf 'x' ;; *) printf ' ' ;; esac; }
{
  printf 'Route audit of %s, %s, commit %s\n' "$base" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(git -C "$repo" rev-parse --short HEAD)"
  printf '\n== Routes in wrangler.toml ==\n'; routing "$repo/wrangler.toml"
  printf '\n== DNS ==\n%s is %s\n' "$name" "$address"
  printf '\n== AI binding ==\n%s\n' "$bound"
  printf '\n== JWKS (first 120 chars) ==\n%s\n' "${keys:0:120}"
  printf '\n== Preflight headers ==\n'; grep -iE '^(HTTP/|access-control-allow-origin|access-control-allow-headers|access-control-expose-headers)' <<<"$preflight"
  # The runbook's own words, so that the two can be held side by side.
  printf '\n== Change checklist (must-do when routes/DNS change) ==\n'
  printf -- '- [ ] Route verified in wrangler and Dashboard\n'
  printf -- '- [ ] Pages Functions not intercepting api host/path\n'
  printf -- '- [%s] Preflight 204 output recorded\n' "$(tick "$preflight" ' 204')"
  printf -- '- [%s] `ai_bound: true` recorded\n' "$(tick "$bound" '"ai_bound":true')"
  printf -- '- [%s] JWKS 120-char head recorded\n' "$(tick "$keys" '"kty":"RSA"')"
  printf -- '- [ ] Proofs file committed under `/ops/proofs/`\n'
} >"$file"
cat "$file"
printf '\nwritten to %s\n' "${file#"$repo/"}"
