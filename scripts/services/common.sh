# shellcheck shell=bash
# shellcheck disable=SC2034 # the names set here are used by the files that are sourced beside this one
# What every server's script shares. Sourced by scripts/services.sh, which sets SERVICES_DIR.

POSTGRES_PORT="${METRICSD_POSTGRES_PORT:-55432}"
REDIS_PORT="${METRICSD_REDIS_PORT:-56379}"
KAFKA_PORT="${METRICSD_KAFKA_PORT:-59092}"
KAFKA_CONTROLLER_PORT="${METRICSD_KAFKA_CONTROLLER_PORT:-59093}"
NODE_EXPORTER_PORT="${METRICSD_NODE_EXPORTER_PORT:-59100}"

# A test that stops or kills a server may have one of its own, under a name of its own and on a port of its own, beside
# the common one. Of Redis and Kafka as of Postgres.
POSTGRES_CLUSTER="${METRICSD_POSTGRES_CLUSTER:-}"
REDIS_CLUSTER="${METRICSD_REDIS_CLUSTER:-}"
KAFKA_CLUSTER="${METRICSD_KAFKA_CLUSTER:-}"
OWN_CLUSTER="$POSTGRES_CLUSTER$REDIS_CLUSTER$KAFKA_CLUSTER"

# Fixed on purpose: they guard test data on a loopback port, nothing else.
POSTGRES_USER=metricsd
POSTGRES_PASSWORD=metricsd

# Debian 13 in a folder of its own: it carries the TimescaleDB, Redis and node_exporter packages, and Prometheus, which a
# test sets side by side with metricsd.
ROOT_DIR="$SERVICES_DIR/trixie"
ROOT_PACKAGES=(postgresql-17-timescaledb redis-server prometheus-node-exporter prometheus)
# Where the peers' programs are found, however they came.
PEERS_DIR="$SERVICES_DIR/bin"
KAFKA_DIR="$SERVICES_DIR/kafka"
RUN_DIR="$SERVICES_DIR/run"
LOG_DIR="$SERVICES_DIR/log"

say() { printf 'services: %s\n' "$*"; }

die() {
  printf 'services: error: %s\n' "$*" >&2
  exit 1
}

# Runs a command with root's rights: as it is when root, by sudo when that asks for no password.
as_root() {
  if [[ "$(id -u)" == 0 ]]; then
    "$@"
  elif sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    die "this step needs root: run it as root, or with a sudo that asks for no password, or start a container engine (docker)"
  fi
}

prepare_folder() {
  mkdir -p "$SERVICES_DIR" "$RUN_DIR" "$LOG_DIR"
  : >"$SERVICES_DIR/.metricsd-services"
}

# One command at a time over all checkouts. Servers must not inherit the lock: they are started with 9>&-.
take_lock() {
  exec 9>>"$SERVICES_DIR/lock"
  if ! flock -n 9; then
    say "waiting for another run of this script on $SERVICES_DIR"
    flock -w 900 9 || die "the lock $SERVICES_DIR/lock is still held after 15 minutes"
  fi
}

# Containers when an engine answers, else native; what was chosen is kept until purge, so that stop finds what start made.
choose_engine() {
  local kept="$SERVICES_DIR/engine"
  ENGINE="${METRICSD_SERVICES_ENGINE:-}"
  if [[ -z "$ENGINE" && -s "$kept" ]]; then
    ENGINE="$(<"$kept")"
    if [[ "$ENGINE" == containers ]] && ! containers_available; then ENGINE=native; fi
  fi
  if [[ -z "$ENGINE" ]]; then
    if containers_available; then ENGINE=containers; else ENGINE=native; fi
  fi
  [[ "$ENGINE" == containers || "$ENGINE" == native ]] || die "METRICSD_SERVICES_ENGINE: expected containers or native, got $ENGINE"
  if [[ -d "$SERVICES_DIR" ]]; then printf '%s\n' "$ENGINE" >"$kept"; fi
}

port_of() {
  case "$1" in
    postgres) echo "$POSTGRES_PORT" ;;
    redis) echo "$REDIS_PORT" ;;
    kafka) echo "$KAFKA_PORT" ;;
    node_exporter) echo "$NODE_EXPORTER_PORT" ;;
  esac
}

# The name of a test's own server, or nothing for the common one.
cluster_of() {
  case "$1" in
    postgres) echo "$POSTGRES_CLUSTER" ;;
    redis) echo "$REDIS_CLUSTER" ;;
    kafka) echo "$KAFKA_CLUSTER" ;;
    *) echo "" ;;
  esac
}

# Who names a server of its own means that one: a command for another would act on the common one.
check_cluster() {
  [[ "$OWN_CLUSTER" =~ ^[a-z0-9-]*$ ]] || die "the name of a cluster: letters a to z, digits and dashes only"
  [[ -z "$OWN_CLUSTER" || -z "$1" || "$(cluster_of "$1")" == "$OWN_CLUSTER" ]] ||
    die "METRICSD_${1^^}_CLUSTER is not set, or that of another server is"
}

# Does the server answer a real request? The same answer counts for both engines.
healthy() { "$1_healthy" 2>/dev/null; }

# The process of a server, or nothing. A pid file may be left over from a machine or a container that is gone and its
# number may belong to somebody else by now, so the process must also look like the server: see NAME_is.
pid_of() {
  local file pid
  file="$("$1_pid_file")"
  pid="$(as_root head -n 1 "$file" 2>/dev/null)" || return 0
  if [[ "$pid" =~ ^[0-9]+$ ]] && is_server "$1" "$pid"; then echo "$pid"; fi
}

is_server() {
  local line
  line="$(tr '\0' ' ' 2>/dev/null <"/proc/$2/cmdline")" || return 1
  [[ "$line" == *"$("$1_mark")"* ]]
}

port_taken() { timeout 2 bash -c ": </dev/tcp/127.0.0.1/$1" 2>/dev/null; }

show_log() {
  local file="$1"
  if as_root test -s "$file"; then
    printf 'services: the end of %s:\n' "$file" >&2
    as_root tail -n 40 "$file" | sed 's/^/  | /' >&2
  fi
}

# Waits until a server answers, at most so many seconds; gives up at once when its process is gone.
wait_ready() {
  local server="$1" seconds="$2" started="$SECONDS" missing=0
  until healthy "$server"; do
    if [[ -z "$(pid_of "$server")" ]]; then missing=$((missing + 1)); else missing=0; fi
    if ((missing > 10)); then
      show_log "$("${server}_log")"
      die "$server ended before it answered"
    fi
    if ((SECONDS - started >= seconds)); then
      show_log "$("${server}_log")"
      die "$server does not answer on 127.0.0.1:$(port_of "$server") after $seconds s"
    fi
    sleep 0.2
  done
}

native_start() {
  local server="$1"
  if healthy "$server"; then
    say "$server: already answers on 127.0.0.1:$(port_of "$server")"
    return
  fi
  if [[ -n "$(pid_of "$server")" ]]; then
    # Perhaps it is just starting. If it does not answer in a while, it never will.
    say "$server: runs but does not answer yet; waiting"
    local i
    for ((i = 0; i < 50; i++)); do
      if healthy "$server"; then return; fi
      sleep 0.2
    done
    say "$server: runs but does not answer; starting it anew"
    native_kill "$server"
  fi
  "${server}_install"
  if port_taken "$(port_of "$server")"; then
    die "$server: port $(port_of "$server") of 127.0.0.1 is taken by another program; free it or set METRICSD_${server^^}_PORT"
  fi
  say "$server: starting on 127.0.0.1:$(port_of "$server")"
  "${server}_start"
  wait_ready "$server" 90
  say "$server: answers"
}

native_stop() {
  local server="$1" pid i
  pid="$(pid_of "$server")"
  if [[ -z "$pid" ]]; then
    say "$server: not running"
    return
  fi
  say "$server: stopping"
  as_root kill "-$("${server}_stop_signal")" "$pid" 2>/dev/null || true
  for ((i = 0; i < 300; i++)); do
    if ! is_server "$server" "$pid"; then
      say "$server: stopped"
      return
    fi
    sleep 0.1
  done
  say "$server: did not stop within 30 s"
  native_kill "$server"
}

# A process and all its descendants, parents first.
tree_of() {
  local children child
  echo "$1"
  read -r -d '' -a children < <(cat "/proc/$1/task/"*/children 2>/dev/null) || true
  for child in "${children[@]}"; do tree_of "$child"; done
}

native_kill() {
  local server="$1" pid tree
  pid="$(pid_of "$server")"
  if [[ -z "$pid" ]]; then
    say "$server: not running"
    return
  fi
  mapfile -t tree < <(tree_of "$pid")
  say "$server: kill -9"
  as_root kill -KILL "${tree[@]}" 2>/dev/null || true
  local i
  for ((i = 0; i < 100; i++)); do
    if ! is_server "$server" "$pid" && ! port_taken "$(port_of "$server")"; then break; fi
    sleep 0.1
  done
  # Give init a moment to reap it, so that nobody takes the dead process for a living one.
  for ((i = 0; i < 20; i++)); do
    if [[ ! -d "/proc/$pid" ]]; then return; fi
    sleep 0.1
  done
  if ! is_server "$server" "$pid"; then return; fi
  die "$server: process $pid is still there after kill -9"
}

# Starts a program that outlives this script: its own session, no terminal, no lock, output to a log.
launch() {
  local log="$1"
  shift
  setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
}
