# The operator's probes against any deployment, as probe.sh has them:
#
#   ops/probes/probe.ps1
#   ops/probes/probe.ps1 -Base https://api.cognomega.com -Origin https://app.cognomega.com
#   $env:ADMIN_API_KEY = '…'; ops/probes/probe.ps1
#   $env:ADMIN_API_KEY = '…'; $env:PROBE_WRITES = '1'; ops/probes/probe.ps1
#
# One line each, `ok`, `FAILED` with what was seen, or `--` for what this version has not built; exit code 1 when one
# failed. README.md says what is asked, and what is not tested of the twins.
param([string]$Base = 'http://127.0.0.1:8787', [string]$Origin = 'http://localhost:5173')
$Base = $Base.TrimEnd('/')
$script:failed = 0
Add-Type -AssemblyName System.Net.Http
$client = New-Object System.Net.Http.HttpClient
$client.Timeout = [TimeSpan]::FromSeconds(60)

function Ask([string]$Method, [string]$Path, [hashtable]$Headers = @{}, [string]$Json = '', [byte[]]$Bytes = $null) {
  $request = New-Object System.Net.Http.HttpRequestMessage ([System.Net.Http.HttpMethod]::new($Method)), "$Base$Path"
  foreach ($name in $Headers.Keys) { [void]$request.Headers.TryAddWithoutValidation($name, $Headers[$name]) }
  if ($Json) { $request.Content = New-Object System.Net.Http.StringContent $Json, ([Text.Encoding]::UTF8), 'application/json' }
  if ($Bytes) {
    $request.Content = New-Object System.Net.Http.ByteArrayContent -ArgumentList @(, $Bytes)
    $request.Content.Headers.ContentType = [System.Net.Http.Headers.MediaTypeHeaderValue]::Parse('application/octet-stream')
  }
  try { $reply = $client.SendAsync($request).GetAwaiter().GetResult() } catch { return @{ Status = "no answer: $_"; Body = ''; Json = $null } }
  $body = $reply.Content.ReadAsStringAsync().GetAwaiter().GetResult()
  $parsed = $null
  try { $parsed = $body | ConvertFrom-Json } catch { }
  @{ Status = [int]$reply.StatusCode; Body = $body; Json = $parsed; Reply = $reply }
}
function Header($Answer, [string]$Name) {
  $values = $null
  if ($Answer.Reply -and $Answer.Reply.Headers.TryGetValues($Name, [ref]$values)) { return ($values -join ', ') }
  ''
}
function Check([string]$What, $Seen, $Expected) {
  if ("$Seen" -ceq "$Expected") { "ok      $What" } else { "FAILED  ${What}: expected $Expected, got $Seen"; $script:failed = 1 }
}
function Contains([string]$What, [string]$Text, [string]$Part) {
  if ($Text.Contains($Part)) { "ok      $What" } else { "FAILED  ${What}: no $Part in $Text"; $script:failed = 1 }
}

# What is not built yet is no failure.
function Built([string]$What, $Answer, $Expected) {
  if ("$($Answer.Status) $($Answer.Json.error)" -ceq '501 not_implemented') { "--      ${What}: not built yet" } else { Check $What $Answer.Status $Expected }
}

$name = ([Uri]$Base).DnsSafeHost
$addresses = @()
try { $addresses = [System.Net.Dns]::GetHostAddresses($name) } catch { }
if ($addresses.Count -gt 0) { "ok      the name is known: $name is $($addresses -join ', ')" } else {
  "FAILED  the name is known: $name has no address that answers"; $script:failed = 1
}

$answer = Ask OPTIONS /api/si/ask @{ Origin = $Origin; 'Access-Control-Request-Method' = 'POST'; 'Access-Control-Request-Headers' = 'Content-Type, X-User-Email, X-Intelligence-Tier' }
Check 'preflight: status' $answer.Status 204
Check 'preflight: our page is allowed' (Header $answer 'Access-Control-Allow-Origin') $Origin
Contains 'preflight: headers asked for are allowed' (Header $answer 'Access-Control-Allow-Headers') 'X-Intelligence-Tier'
Contains 'preflight: billing headers are exposed' (Header $answer 'Access-Control-Expose-Headers') 'X-Credits-Balance'
$answer = Ask OPTIONS /api/si/ask @{ Origin = 'https://elsewhere.example'; 'Access-Control-Request-Method' = 'POST' }
Check 'preflight: another page is not' (Header $answer 'Access-Control-Allow-Origin') ''

$answer = Ask GET /ready
Check '/ready: status' $answer.Status 200
Check '/ready: ok' $answer.Json.ok $true
foreach ($path in '/healthz', '/api/healthz', '/api/v1/healthz') { Check $path (Ask GET $path).Status 200 }

Check 'the AI binding is bound' (Ask GET /api/ai/binding).Json.ai_bound $true

$answer = Ask GET /.well-known/jwks.json
Check 'public keys: status' $answer.Status 200
Contains 'public keys: an RSA key' $answer.Body '"kty":"RSA"'
Check 'public keys: no private member' $answer.Body.Contains('"d":') $false

"ok      public keys: first 120 characters: $($answer.Body.Substring(0, [Math]::Min(120, $answer.Body.Length)))"
$answer = Ask HEAD /.well-known/jwks.json
Check 'public keys: HEAD' "$($answer.Status) $(Header $answer 'Cache-Control')" '200 public, max-age=300'

$answer = Ask POST /auth/guest
if ($answer.Status -eq 400 -and $answer.Json.error -eq 'missing_turnstile') {
  'ok      guest token: asks for a challenge'
} else {
  Check 'guest token: status' $answer.Status 200
  Check 'a guest sees its balance' (Ask GET /api/credits @{ Authorization = "Bearer $($answer.Json.token)" }).Status 200
}
$answer = Ask GET /api/credits
Check 'nobody sees no balance' "$($answer.Status) $($answer.Json.error)" '400 missing_email'
$answer = Ask POST /api/credits/adjust @{} '{"email":"nobody@example.com","delta":1}'
Check 'nobody adjusts a balance' "$($answer.Status) $($answer.Json.error)" '401 unauthorized'
$answer = Ask GET /no-such-path
Check 'an unknown path' "$($answer.Status) $($answer.Json.error)" '404 not_found'

if ($env:ADMIN_API_KEY) {
  $operator = @{ 'X-Admin-Key' = $env:ADMIN_API_KEY }
  Check 'the operator is known' (Ask GET /api/admin/ping $operator).Status 200
  Check 'the environment is shown' (Ask GET /api/admin/env-snapshot $operator).Json.ok $true
  Check "a tenant's usage" (Ask GET '/api/billing/usage?limit=5&email=probe@example.com' $operator).Status 200
  Check "a tenant's books" (Ask GET '/api/credits/verify?email=probe@example.com' $operator).Json.ok $true
  Check "a tenant's balance" (Ask GET '/api/credits?email=probe@example.com' $operator).Status 200
  $answer = Ask POST /api/admin/cleanup $operator '{"kind":"both","older_than_days":30,"limit":500,"dry_run":true}'
  Built 'cleanup, without deleting' $answer 200
}
if ($env:ADMIN_API_KEY -and $env:PROBE_WRITES -eq '1') {
  $before = (Ask GET '/api/credits?email=probe@example.com' $operator).Json.balance
  $answer = Ask POST /api/credits/adjust $operator '{"email":"probe@example.com","delta":10,"reason":"probe"}'
  Check 'credit is given' $answer.Status 200
  $answer = Ask POST /api/credits/adjust $operator '{"email":"probe@example.com","delta":-10,"reason":"probe"}'
  Check 'credit is taken back' "$($answer.Status) $($answer.Json.balance)" "200 $before"
  $bytes = New-Object byte[] 1048576
  (New-Object Random).NextBytes($bytes)
  $answer = Ask POST '/api/upload/direct?filename=probe.bin&email=probe@example.com' $operator '' $bytes
  Built 'upload of 1 MiB' $answer 200
}
exit $script:failed
