#!/usr/bin/env bash
# The operator's probes against any deployment:
#
#   ops/probes/probe.sh                                   # http://127.0.0.1:8787, as `make dev` serves it
#   ops/probes/probe.sh https://api.cognomega.com https://app.cognomega.com
#   ADMIN_API_KEY=… ops/probes/probe.sh                   # also those that need the operator's key; they change nothing
#   ADMIN_API_KEY=… PROBE_WRITES=1 ops/probes/probe.sh    # also those that write: credit given to probe@example.com and
#                                                         # taken back, and a file of 1 MiB uploaded in its name
#
# One line each, `ok`, `FAILED` with what was seen, or `--` for what this version has not built; exit code 1 when one
# failed. The same for PowerShell: probe.ps1. README.md says what is asked, and what is not tested of the twins.
set -uo pipefail
base="${1:-http://127.0.0.1:8787}"; base="${base%/}"
origin="${2:-http://localhost:5173}"
failed=0
head_file="$(mktemp)"; body_file="$(mktemp)"; upload_file="$(mktemp)"
trap 'rm -f "$head_file" "$body_file" "$upload_file"' EXIT
head -c 1048576 /dev/urandom >"$upload_file"

# ask METHOD PATH [curl arguments]: leaves status, head and body behind.
ask() {
  local method="$1" path="$2"; shift 2
  : >"$head_file"; : >"$body_file"
  status="$(curl -sS --max-time 60 -o "$body_file" -D "$head_file" -w '%{http_code}' -X "$method" "$@" "$base$path" 2>&1)" \
    || status="no answer: $status"
  body="$(cat "$body_file" 2>/dev/null)"
}
header() { tr -d '\r' <"$head_file" | awk -F': ' -v name="$1" 'tolower($1) == tolower(name) {sub(/^[^:]*: /, ""); print}'; }
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" <<<"$body" | head -n 1; }
check() { # check WHAT SEEN EXPECTED
  if [ "$2" = "$3" ]; then printf 'ok      %s\n' "$1"; else
    printf 'FAILED  %s: expected %s, got %s\n' "$1" "$3" "$2"; failed=1
  fi
}
contains() { # contains WHAT TEXT PART
  case "$2" in *"$3"*) printf 'ok      %s\n' "$1" ;; *) printf 'FAILED  %s: no %s in %s\n' "$1" "$3" "$2"; failed=1 ;; esac
}

built() { # built WHAT EXPECTED-STATUS: of the last answer; what is not built yet is no failure
  if [ "$status $(field error)" = '501 not_implemented' ]; then printf -- '--      %s: not built yet\n' "$1"; else check "$1" "$status" "$2"; fi
}

host="${base#*://}"; host="${host%%[:/]*}"
address="$(curl -sS --max-time 60 -o /dev/null -w '%{remote_ip}' "$base/healthz" 2>/dev/null)"
if [ -n "$address" ]; then printf 'ok      the name is known: %s is %s\n' "$host" "$address"; else
  printf 'FAILED  the name is known: %s has no address that answers\n' "$host"; failed=1
fi

ask OPTIONS /api/si/ask -H "Origin: $origin" -H 'Access-Control-Request-Method: POST' \
  -H 'Access-Control-Request-Headers: Content-Type, X-User-Email, X-Intelligence-Tier'
check 'preflight: status' "$status" 204
check 'preflight: our page is allowed' "$(header Access-Control-Allow-Origin)" "$origin"
contains 'preflight: headers asked for are allowed' "$(header Access-Control-Allow-Headers)" X-Intelligence-Tier
contains 'preflight: billing headers are exposed' "$(header Access-Control-Expose-Headers)" X-Credits-Balance
ask OPTIONS /api/si/ask -H 'Origin: https://elsewhere.example' -H 'Access-Control-Request-Method: POST'
check 'preflight: another page is not' "$(header Access-Control-Allow-Origin)" ''

ask GET /ready
check '/ready: status' "$status" 200
check '/ready: ok' "$(field ok)" true
for path in /healthz /api/healthz /api/v1/healthz; do ask GET "$path"; check "$path" "$status" 200; done

ask GET /api/ai/binding
check 'the AI binding is bound' "$(field ai_bound)" true

ask GET /.well-known/jwks.json
check 'public keys: status' "$status" 200
contains 'public keys: an RSA key' "$body" '"kty":"RSA"'
case "$body" in *'"d":'*) printf 'FAILED  public keys: a private member is served\n'; failed=1 ;; *) printf 'ok      public keys: no private member\n' ;; esac

printf 'ok      public keys: first 120 characters: %s\n' "${body:0:120}"
ask GET /.well-known/jwks.json --head
check 'public keys: HEAD' "$status $(header Cache-Control)" '200 public, max-age=300'

ask POST /auth/guest
if [ "$status" = 400 ] && [ "$(field error)" = missing_turnstile ]; then
  printf 'ok      guest token: asks for a challenge\n'
else
  check 'guest token: status' "$status" 200
  token="$(field token)"
  ask GET /api/credits -H "Authorization: Bearer $token"
  check 'a guest sees its balance' "$status" 200
fi
ask GET /api/credits
check 'nobody sees no balance' "$status $(field error)" '400 missing_email'
ask POST /api/credits/adjust -H 'Content-Type: application/json' --data '{"email":"nobody@example.com","delta":1}'
check 'nobody adjusts a balance' "$status $(field error)" '401 unauthorized'
ask GET /no-such-path
check 'an unknown path' "$status $(field error)" '404 not_found'

if [ -n "${ADMIN_API_KEY:-}" ]; then
  # By standard input: arguments are seen by everybody on the machine.
  operator() { ask "$@" -H @<(printf 'X-Admin-Key: %s\n' "$ADMIN_API_KEY"); }
  operator GET /api/admin/ping
  check 'the operator is known' "$status" 200
  operator GET /api/admin/env-snapshot
  check 'the environment is shown' "$(field ok)" true
  operator GET '/api/billing/usage?limit=5&email=probe@example.com'
  check "a tenant's usage" "$status" 200
  operator GET '/api/credits/verify?email=probe@example.com'
  check "a tenant's books" "$(field ok)" true
  operator GET '/api/credits?email=probe@example.com'
  check "a tenant's balance" "$status" 200
  operator POST /api/admin/cleanup -H 'Content-Type: application/json' \
    --data '{"kind":"both","older_than_days":30,"limit":500,"dry_run":true}'
  built 'cleanup, without deleting' 200
fi
if [ -n "${ADMIN_API_KEY:-}" ] && [ "${PROBE_WRITES:-}" = 1 ]; then
  adjust() { operator POST /api/credits/adjust -H 'Content-Type: application/json' --data "{\"email\":\"probe@example.com\",\"delta\":$1,\"reason\":\"probe\"}"; }
  operator GET '/api/credits?email=probe@example.com'
  before="$(field balance)"
  adjust 10
  check 'credit is given' "$status" 200
  adjust -10
  check 'credit is taken back' "$status $(field balance)" "200 $before"
  operator POST '/api/upload/direct?filename=probe.bin&email=probe@example.com' \
    -H 'Content-Type: application/octet-stream' --data-binary @"$upload_file"
  built 'upload of 1 MiB' 200
fi
exit "$failed"
