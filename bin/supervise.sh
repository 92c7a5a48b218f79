#!/bin/sh
# Keeps kpeering running: PID 1 of its container.
#
#   supervise.sh sidecar|ephemeral|gateway [OPTION]...   starts kpeering, and starts it again when it dies
#   supervise.sh [anything else]                         becomes kpeering: `version`, `--help`
#
#   KPEERING_NODE       the Node that runs it; default: node
#   KPEERING_RESTARTS   set for kpeering: how often it has been started again
#
# A pod is not Ready while a container of it is not running, and the kubelet waits 10 s and more before it starts one for
# the second time. So a kpeering that dies (a bug, SIGKILL) is replaced here, at once and without the kubelet's
# noticing; one that has lived for less than 10 s after 0, 0.1, 0.5, 1, 2 and then always 5 s. Not replaced: one that ended
# by itself (0), that was used wrongly (2) or could not be started (126, 127), and any once SIGTERM or SIGINT has come.
# Both are passed on as SIGTERM; then this waits for kpeering's end, and ends with its exit code.
#
# POSIX sh (dash, busybox ash); needs /proc and `sleep`. Orphans are reaped: `wait` takes whichever child has ended.
set -u

here=${0%/*}
[ "$here" != "$0" ] || here=.

kpeering() { exec "${KPEERING_NODE:-node}" "$here/kpeering.js" "$@"; }

case ${1-} in
  sidecar | ephemeral | gateway) ;;
  *) kpeering "$@" ;;
esac

child=    # kpeering, or the sleep before its next start
stopping= # a signal has come
passed=   # and was passed on
heard=    # since this was last emptied

# A shell starts what runs in the background with SIGINT ignored, so SIGTERM it is in any case.
stop() {
  stopping=1
  heard=1
  [ -n "$child" ] || return 0
  passed=1
  kill -s TERM "$child" 2>/dev/null
}
trap stop TERM INT

# await: waits for $child, sets $code to its exit code (128 + n for a signal)
await() {
  # A signal that came before $child was known. Not twice: kpeering takes a second one as an order to end at once.
  [ -z "$stopping" ] || [ -n "$passed" ] || stop
  code=
  while :; do
    heard=
    wait "$child"
    answer=$?
    # `wait` answers a signal, too; and 127 when the child had ended before that and is forgotten.
    [ "$answer" != 127 ] || [ -z "$code" ] || break
    code=$answer
    [ -n "$heard" ] || break
  done
  child=
}

seconds() {
  read -r uptime _ </proc/uptime
  now=${uptime%.*}
}

restarts=0
deaths=0 # quick ones, in a row
while :; do
  export KPEERING_RESTARTS="$restarts"
  seconds
  began=$now
  kpeering "$@" &
  child=$!
  await
  case $code in 0 | 2 | 126 | 127) exit "$code" ;; esac
  [ -z "$stopping" ] || exit "$code"
  seconds
  [ $((now - began)) -lt 10 ] || deaths=0
  case $deaths in 0) pause=0 ;; 1) pause=0.1 ;; 2) pause=0.5 ;; 3) pause=1 ;; 4) pause=2 ;; *) pause=5 ;; esac
  deaths=$((deaths + 1))
  restarts=$((restarts + 1))
  printf '{"level":50,"name":"supervisor","code":%s,"restarts":%s,"msg":"kpeering has died; it is started again in %s s"}\n' \
    "$code" "$restarts" "$pause" >&2
  if [ "$pause" != 0 ]; then
    sleep "$pause" &
    child=$!
    await
    [ -z "$stopping" ] || exit 0
  fi
done
