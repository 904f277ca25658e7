#!/usr/bin/env bash
# Runs a command against Apache RocketMQ on loopback, started for it by run.sh --hold and stopped after it.
#
#   reference/with-apache.sh [--port PORT] -- CMD [ARG ...]
#
# CMD finds the name server (HOST:PORT) in VARVE_TEST_NAMESRV. The exit status is CMD's; 70 when the servers did not come up.
set -euo pipefail

readonly here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly start_seconds=300 # Maven may have to fetch the servers first

port=()
while (($#)); do
  case "$1" in
    --port) port=(--port "$2"); shift 2 ;;
    --) shift; break ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
(($#)) || { echo "no command" >&2; exit 2; }

coproc servers { exec "$here/run.sh" "${port[@]}" --hold; }
readonly pid="$servers_PID" from="${servers[0]}" to="${servers[1]}"

# The end of its standard input ends run.sh, which ends its servers by their pids.
stop() {
  local status=$?
  trap - EXIT
  eval "exec $to>&-"
  timeout 40 tail --pid="$pid" -f /dev/null || kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

if ! read -t "$start_seconds" -r line <&"$from" || [[ "$line" != VARVE_NAMESRV=* ]]; then
  echo "with-apache: the servers did not come up: ${line:-}" >&2
  exit 70
fi
line="${line#VARVE_NAMESRV=}"
VARVE_TEST_NAMESRV="${line%%,*}" "$@"
