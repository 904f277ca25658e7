#!/usr/bin/env bash
# Runs real RocketMQ clients against a running server.
#
#   run.sh java    [VERSION] [--tls] [--only NAME[,NAME]]   the Java client: JSON header, then the binary header
#   run.sh seed    [VERSION]                                the quick start; needs the server on localhost:9876
#   run.sh mqadmin [VERSION]                                the administration tool
#   run.sh go | go-next                                     rocketmq-client-go, the release and the newest commit
#
# VERSION is that of org.apache.rocketmq:rocketmq-client (4.9.8). Every form takes --namesrv HOST:PORT
# (default: $VARVE_NAMESRV, else 127.0.0.1:9876). The exit status is 0 if everything passed.
set -euo pipefail

readonly here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

usage() {
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

suite="${1:-}"
[[ -n "$suite" ]] || usage
shift
version=4.9.8
namesrv="${VARVE_NAMESRV:-127.0.0.1:9876}"
tls=false
only=()
while (($#)); do
  case "$1" in
    --namesrv) namesrv="$2"; shift 2 ;;
    --tls) tls=true; shift ;;
    --only) IFS=, read -ra only <<<"$2"; shift 2 ;;
    -*) usage ;;
    *) version="$1"; shift ;;
  esac
done
export VARVE_NAMESRV="$namesrv"

# Compiles when a source is newer than the last build of that client version.
compile_java() {
  local target="$here/java/target/$version"
  if [[ ! -s "$target/classpath" || -n "$(find "$here/java/src" "$here/java/pom.xml" -newer "$target/classpath" -print -quit)" ]]; then
    mkdir -p "$here/java/target"
    mvn -B -f "$here/java/pom.xml" -Drocketmq.version="$version" clean compile >"$target.log" 2>&1 || {
      cat "$target.log" >&2
      return 1
    }
    touch "$target/classpath"
  fi
}

# run_java SUITE JVM-OPTION ...
run_java() {
  local target="$here/java/target/$version" name="$1"
  shift
  mkdir -p "$target/home"
  # The clients keep logs and the offsets of broadcast groups under the home directory. The two intervals only make
  # them notice new topics and members sooner than every 20 to 30 seconds; both are documented client settings.
  ROCKETMQ_HOME="$here/java/mqadmin-home" timeout --kill-after=10 240 java -Xmx512m -XX:+UseSerialGC \
    -Duser.home="$target/home" -Drocketmq.client.logRoot="$target/home/logs" \
    -Drocketmq.client.rebalance.waitInterval=1000 "$@" \
    -cp "$target/classes:$(cat "$target/classpath")" conformance.Main "$name" "${only[@]}"
}

run_go() {
  # Without the lines that only say that a test has begun.
  (cd "$here/go" && go test -count=1 -v -parallel=8 -timeout=180s "$@" ./... 2>&1 | sed '/^=== /d')
}

case "$suite" in
  java)
    compile_java
    options=()
    if "$tls"; then options+=(-Dtls.enable=true); fi
    status=0
    run_java clients "${options[@]}" || status=1
    run_java clients "${options[@]}" -Drocketmq.serialize.type=ROCKETMQ || status=1
    exit "$status"
    ;;
  seed)
    compile_java
    run_java seed
    ;;
  mqadmin)
    compile_java
    run_java mqadmin
    ;;
  go) run_go ;;
  go-next) run_go -modfile=go.next.mod ;;
  *) usage ;;
esac
