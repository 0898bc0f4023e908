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
tick() { case "$1" in *"$2"*) printf 'x' ;; *) printf ' ' ;; esac; }
{
  printf 'Route audit of %s, %s, commit %s\n' "$base" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(git -C "$repo" rev-parse --short HEAD)"
  printf '\n== Routes in wrangler.toml ==\n'; grep -nE '^(name|routes|workers_dev|preview_urls) *=' "$repo/wrangler.toml"
  printf '\n== DNS ==\n%s is %s\n' "$name" "$address"
  printf '\n== AI binding ==\n%s\n' "$bound"
  printf '\n== JWKS (first 120 characters) ==\n%s\n' "${keys:0:120}"
  printf '\n== Preflight ==\n'; grep -iE '^(HTTP/|access-control-allow-origin|access-control-allow-headers|access-control-expose-headers)' <<<"$preflight"
  printf '\n== Checklist ==\n'
  printf '[ ] The route is the same in the dashboard: Workers & Pages, the Worker, Domains & Routes\n'
  printf '[ ] No Pages project has a Functions route or a custom domain for this host\n'
  printf '[%s] Preflight is 204\n' "$(tick "$preflight" ' 204')"
  printf '[%s] ai_bound is true\n' "$(tick "$bound" '"ai_bound":true')"
  printf '[%s] Public keys are served\n' "$(tick "$keys" '"kty":"RSA"')"
  printf '[ ] This file is committed\n'
} >"$file"
cat "$file"
printf '\nwritten to %s\n' "${file#"$repo/"}"
