#!/usr/bin/env bash
# Runs a command against a broker of its own: bin/varve on loopback, on free
# ports, with a data directory that is thrown away.
#
#   with-varve.sh [--default-ports] [SERVER-FLAG ...] -- CMD [ARG ...]
#
# --default-ports takes 9876, 10911 and 8080 instead of free ports, for programs
# with the address in their source. CMD finds the broker in VARVE_NAMESRV and
# VARVE_HTTP (HOST:PORT each). The exit status is CMD's; 70 when the broker did
# not become ready or died meanwhile. VARVE_BIN names another binary.
set -euo pipefail

readonly here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly bin="${VARVE_BIN:-$here/../bin/varve}"
readonly ready_seconds=30 stop_seconds=20

ports=(--namesrv-listen 127.0.0.1:0 --broker-listen 127.0.0.1:0 --http-listen 127.0.0.1:0)
flags=()
while (($#)); do
  case "$1" in
    --default-ports) ports=(--namesrv-listen 127.0.0.1:9876 --broker-listen 127.0.0.1:10911 --http-listen 127.0.0.1:8080); shift ;;
    --) shift; break ;;
    *) flags+=("$1"); shift ;;
  esac
done
if (($# == 0)) || [[ ! -x "$bin" ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  [[ -x "$bin" ]] || echo "with-varve: no $bin: run make build" >&2
  exit 2
fi

work="$(mktemp -d "${TMPDIR:-/tmp}/varve-conformance.XXXXXX")"
pid=""

# Ends the broker by its pid: in order first, then at once.
stop() {
  local status=$?
  trap - EXIT
  if [[ -n "$pid" ]] && kill -0 "$pid" 2>/dev/null; then
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < stop_seconds * 10; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
      echo "with-varve: the broker did not stop within $stop_seconds s, killing it" >&2
      kill -KILL "$pid" 2>/dev/null || true
      ((status)) || status=70
    fi
  fi
  if [[ -n "$pid" ]]; then wait "$pid" 2>/dev/null || true; fi
  if ((status)) && [[ -s "$work/log" ]]; then
    echo "with-varve: the broker's last lines:" >&2
    tail -n 40 "$work/log" >&2
  fi
  rm -rf "$work"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The server takes unknown VARVE_ variables for faults, and must not take a
# developer's settings for its own.
clean=()
for name in $(compgen -e VARVE_); do
  [[ "$name" == VARVE_TEST_* ]] || clean+=(-u "$name")
done

: >"$work/ready" # the child may be late to make it
env "${clean[@]}" "$bin" server --data-dir "$work/data" --advertise-host 127.0.0.1 "${ports[@]}" "${flags[@]}" \
  >"$work/ready" 2>"$work/log" </dev/null &
pid=$!

# The server says on standard output where it listens, once it does.
address() { sed -n "/^ *$1 /{s|^ *$1  *||p;q}" "$work/ready"; }

# True when /readyz answers 200.
is_ready() {
  local line
  exec 3<>"/dev/tcp/${1%:*}/${1##*:}" || return 1
  printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
  IFS= read -r -t 2 line <&3 || line=""
  exec 3<&- 3>&-
  [[ "$line" == *" 200 "* ]]
}

http=""
for ((i = 0; i < ready_seconds * 10; i++)); do
  if ! kill -0 "$pid" 2>/dev/null; then
    echo "with-varve: the broker ended before it was ready" >&2
    exit 70
  fi
  http="$(address http)"
  http="${http#http://}"
  if [[ -n "$http" ]] && is_ready "$http" 2>/dev/null; then break; fi
  http=""
  sleep 0.1
done
if [[ -z "$http" ]]; then
  echo "with-varve: the broker was not ready within $ready_seconds s" >&2
  exit 70
fi

status=0
VARVE_NAMESRV="$(address namesrv)" VARVE_HTTP="$http" "$@" || status=$?
if ! kill -0 "$pid" 2>/dev/null; then
  echo "with-varve: the broker died while $1 ran" >&2
  exit 70
fi
exit "$status"
