#!/usr/bin/env bash
# Runs a command beside an S3 server of its own: bin/minio or bin/versitygw on
# loopback, on a free port, with a data directory that is thrown away.
#
#   with-s3.sh minio|versitygw -- CMD [ARG ...]
#
# CMD finds the server in VARVE_TEST_S3 (http://KEY:SECRET@HOST:PORT/BUCKET; who
# uses it makes the bucket), its name in VARVE_TEST_S3_SERVER, its process id in
# VARVE_TEST_S3_PID. The exit status is
# CMD's; 70 when the server did not become ready or died meanwhile.
set -euo pipefail

readonly here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly bin="$here/../../bin"
readonly ready_seconds=30 stop_seconds=10
readonly access=varve-test secret=varve-test-secret

server="${1:-}"
if (($# < 3)) || [[ "$2" != -- || ! "$server" =~ ^(minio|versitygw)$ || ! -x "$bin/$server" ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  [[ -x "$bin/$server" ]] || echo "with-s3: no $bin/$server: run make s3-servers" >&2
  exit 2
fi
shift 2

work="$(mktemp -d "${TMPDIR:-/tmp}/varve-s3.XXXXXX")"
mkdir "$work/data" "$work/meta" "$work/home"
pid=""

# Ends the server by its pid: in order first, then at once.
end_server() {
  [[ -n "$pid" ]] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  for ((i = 0; i < stop_seconds * 10; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=""
}

stop() {
  local status=$?
  trap - EXIT
  end_server
  if ((status)) && [[ -s "$work/log" ]]; then
    echo "with-s3: the last lines of $server:" >&2
    tail -n 20 "$work/log" >&2
  fi
  rm -rf "$work"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# True when the port takes connections.
is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# True when the server answers with anything in HTTP.
is_ready() {
  local line path=/
  [[ "$server" == versitygw ]] || path=/minio/health/ready
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$path" >&3
  IFS= read -r -t 2 line <&3 || line=""
  exec 3<&- 3>&-
  [[ "$server" == versitygw && "$line" == HTTP/* || "$line" == *" 200 "* ]]
}

# Starts the server on a port. Nothing of the caller's environment may change what it does.
launch() {
  local env=(env -i PATH="$PATH" HOME="$work/home")
  case "$server" in
    minio)
      # The key is for server-side encryption: 32 bytes that protect nothing.
      exec "${env[@]}" MINIO_ROOT_USER="$access" MINIO_ROOT_PASSWORD="$secret" MINIO_BROWSER=off MINIO_CI_CD=1 \
        MINIO_KMS_SECRET_KEY="varve-test:$(printf '%032d' 1 | base64 -w 0)" \
        "$bin/minio" server --address "127.0.0.1:$1" "$work/data"
      ;;
    versitygw)
      exec "${env[@]}" ROOT_ACCESS_KEY="$access" ROOT_SECRET_KEY="$secret" \
        "$bin/versitygw" --port "127.0.0.1:$1" posix --sidecar "$work/meta" "$work/data"
      ;;
  esac
}

# A port that is free now may be taken a moment later, so several are tried.
port=""
for ((try = 0; try < 5; try++)); do
  port=$((20000 + RANDOM % 10000))
  is_open "$port" && continue
  launch "$port" >"$work/log" 2>&1 </dev/null &
  pid=$!
  for ((i = 0; i < ready_seconds * 10; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    if is_ready "$port" 2>/dev/null; then break 2; fi
    sleep 0.1
  done
  end_server
done
if [[ -z "$pid" ]]; then
  echo "with-s3: $server was not ready within $ready_seconds s" >&2
  exit 70
fi

status=0
VARVE_TEST_S3="http://$access:$secret@127.0.0.1:$port/varve-test" VARVE_TEST_S3_SERVER="$server" VARVE_TEST_S3_PID="$pid" "$@" || status=$?
if ! kill -0 "$pid" 2>/dev/null; then
  echo "with-s3: $server died while $1 ran" >&2
  exit 70
fi
exit "$status"
