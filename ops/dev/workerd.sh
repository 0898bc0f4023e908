#!/bin/sh
# Starts workerd so that the kernel ends it together with the process that started it, however that one ends; by
# itself workerd would live on. The process id is written down first: it stays the same across exec.
echo "$$" >"$COGNOMEGA_WORKERD_PID_FILE"
if command -v setpriv >/dev/null 2>&1; then
  exec setpriv --pdeathsig KILL -- "$COGNOMEGA_WORKERD" "$@"
fi
exec "$COGNOMEGA_WORKERD" "$@"
