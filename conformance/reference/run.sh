#!/usr/bin/env bash
# Starts Apache RocketMQ's name server and broker on loopback, runs the suites against them, stops them.
# A suite that is not green here is wrong, or is explained in conformance/README.md.
#
#   reference/run.sh [--port PORT] [SUITE ...]    each SUITE is one quoted argument list of conformance/run.sh
#   reference/run.sh [--port PORT] --hold         start, print the address, wait for the end of standard input
#
# PORT is the name server's (19876); the broker listens on PORT + 1035. --port 9876 is what the suite "seed" needs.
set -euo pipefail

readonly here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly version="${ROCKETMQ_SERVER_VERSION:-5.5.0}"

port=19876
hold=false
suites=()
while (($#)); do
  case "$1" in
    --port) port="$2"; shift 2 ;;
    --hold) hold=true; shift ;;
    -*) echo "unknown option $1" >&2; exit 2 ;;
    *) suites+=("$1"); shift ;;
  esac
done
((${#suites[@]})) || suites=("java 4.9.8" "java 5.5.0" "mqadmin 4.9.8" "mqadmin 5.5.0" "go" "go-next")

readonly broker_port=$((port + 1035))
readonly target="$here/target/$version"
home="$(mktemp -d)"
readonly home
pids=()

stop() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    timeout 15 tail --pid="$pid" -f /dev/null || kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$home"
}
trap stop EXIT
trap 'exit 130' INT TERM

await_port() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    if (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  echo "nothing listens on 127.0.0.1:$1" >&2
  tail -n 40 "$home"/*.log >&2
  return 1
}

# Asks the name server for its brokers (request 106) until ours is among them: "boot success" comes earlier than that.
await_registration() {
  local tries header='{"code":106,"language":"OTHER","version":479,"opaque":1,"flag":0,"extFields":{}}'
  for ((tries = 0; tries < 60; tries++)); do
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf "\\0\\0\\0\\x$(printf %x $((${#header} + 4)))\\0\\0\\0\\x$(printf %x ${#header})%s" "$header" >&3
    if { timeout 1 cat <&3 || true; } | grep -aq "127.0.0.1:$broker_port"; then
      exec 3>&-
      return 0
    fi
    exec 3>&-
  done
  echo "the broker has not registered" >&2
  tail -n 40 "$home"/*.log >&2
  return 1
}

write_config() {
  cat >"$home/namesrv.properties" <<EOF
listenPort=$port
bindAddress=127.0.0.1
kvConfigPath=$home/namesrv/kvConfig.json
configStorePath=$home/namesrv/namesrv.properties
EOF
  # Small files, because the defaults map some gigabytes, and no flow control after 200 ms on a busy machine;
  # everything else that clients can see is the default.
  cat >"$home/broker.properties" <<EOF
brokerClusterName=DefaultCluster
brokerName=broker-a
brokerId=0
namesrvAddr=127.0.0.1:$port
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
bindAddress=127.0.0.1
listenPort=$broker_port
haListenPort=$((broker_port + 1))
autoCreateTopicEnable=true
aclEnable=false
enablePropertyFilter=true
storePathRootDir=$home/store
storePathCommitLog=$home/store/commitlog
mappedFileSizeCommitLog=67108864
mappedFileSizeTimerLog=8388608
maxHashSlotNum=50000
maxIndexNum=200000
diskMaxUsedSpaceRatio=95
waitTimeMillsInSendQueue=10000
EOF
}

# start NAME MAIN-CLASS CONFIG
start() {
  ROCKETMQ_HOME="$home" java -Xms512m -Xmx512m -XX:MaxDirectMemorySize=512m -XX:+UseSerialGC \
    -Duser.home="$home" -Drocketmq.log.root="$home/logs" \
    --add-exports java.base/sun.security.x509=ALL-UNNAMED --add-exports java.base/sun.security.util=ALL-UNNAMED \
    --add-opens java.base/java.nio=ALL-UNNAMED --add-opens java.base/sun.nio.ch=ALL-UNNAMED \
    -cp "$(cat "$target/classpath")" "$2" -c "$3" >"$home/$1.log" 2>&1 &
  pids+=("$!")
}

if [[ ! -s "$target/classpath" ]]; then
  mkdir -p "$target"
  mvn -B -f "$here/pom.xml" -Drocketmq.version="$version" dependency:build-classpath \
    -Dmdep.outputFile="$target/classpath" >"$target/maven.log" 2>&1 || { cat "$target/maven.log" >&2; exit 1; }
fi

write_config
start namesrv org.apache.rocketmq.namesrv.NamesrvStartup "$home/namesrv.properties"
await_port "$port"
start broker org.apache.rocketmq.broker.BrokerStartup "$home/broker.properties"
await_port "$broker_port"
await_registration

if "$hold"; then
  echo "VARVE_NAMESRV=127.0.0.1:$port, files in $home"
  while read -r _; do :; done # a builtin, so that a signal is not kept waiting
  exit 0
fi

failed=()
for suite in "${suites[@]}"; do
  read -ra words <<<"$suite"
  "$here/../run.sh" "${words[@]}" --namesrv "127.0.0.1:$port" || failed+=("$suite")
done
if ((${#failed[@]})); then
  printf 'failed against Apache RocketMQ %s: %s\n' "$version" "${failed[@]}" >&2
  exit 1
fi
