#!/usr/bin/env bash
# The real servers that the tests talk to: TimescaleDB, Redis, Kafka and a node_exporter.
#
# They listen on 127.0.0.1 only, on ports of the project's own, and keep their data outside the checkout, so that
# several checkouts and CI share one set. A running container engine is used first; else they run natively.
# Every command may be repeated. `scripts/services.sh help` lists them.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CHECKOUT="$(dirname "$HERE")"
SERVICES_DIR="${METRICSD_SERVICES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/metricsd-services}"
SERVERS=(postgres redis kafka node_exporter)

# shellcheck source=scripts/services/common.sh
source "$HERE/services/common.sh"
# shellcheck source=scripts/services/install.sh
source "$HERE/services/install.sh"
# shellcheck source=scripts/services/postgres.sh
source "$HERE/services/postgres.sh"
# shellcheck source=scripts/services/redis.sh
source "$HERE/services/redis.sh"
# shellcheck source=scripts/services/kafka.sh
source "$HERE/services/kafka.sh"
# shellcheck source=scripts/services/node_exporter.sh
source "$HERE/services/node_exporter.sh"
# shellcheck source=scripts/services/containers.sh
source "$HERE/services/containers.sh"
# shellcheck source=scripts/services/peers.sh
source "$HERE/services/peers.sh"
# shellcheck source=scripts/services/kubernetes.sh
source "$HERE/services/kubernetes.sh"

usage() {
  cat <<TEXT
usage: scripts/services.sh COMMAND [SERVER]

  start               install what is missing (Prometheus, which a test runs, among it), start every server, wait until
                      each answers, write .services.env
  stop                stop every server that start started
  status              say which servers answer; exit 0 when all do
  purge               stop every server and remove its data and its installed files
  start-one SERVER    start one server and wait until it answers
  stop-one SERVER     stop one server in good order
  restart-one SERVER  both
  kill-one SERVER     kill -9: no good-bye, as in a crash
  remove-cluster      end the server that METRICSD_POSTGRES_CLUSTER, _REDIS_ or _KAFKA_CLUSTER names and remove its data
  peers               install Prometheus and VictoriaMetrics for the benchmark; nothing is started
  kubernetes          build a Kubernetes API server and install etcd for the tests that use them when they are there; takes
                      minutes and a Go toolchain; nothing is started
  env                 print the export lines of .services.env

SERVER is one of: ${SERVERS[*]}

Environment: METRICSD_SERVICES_DIR (now $SERVICES_DIR),
METRICSD_SERVICES_ENGINE=containers|native (default: what answers), METRICSD_{POSTGRES,REDIS,KAFKA,NODE_EXPORTER}_PORT.
METRICSD_POSTGRES_CLUSTER=NAME with a METRICSD_POSTGRES_PORT of its own makes the commands for one server act on another
postgres, which a test may kill while others use the common one; METRICSD_REDIS_CLUSTER and METRICSD_KAFKA_CLUSTER (with
METRICSD_KAFKA_CONTROLLER_PORT) do the same for redis and kafka. One of the three at a time.
TEXT
}

print_env() {
  printf 'export %s=%q\n' \
    METRICSD_TEST_POSTGRES_URL "postgres://$POSTGRES_USER:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_PORT/postgres" \
    METRICSD_TEST_REDIS_URL "redis://127.0.0.1:$REDIS_PORT" \
    METRICSD_TEST_KAFKA_BROKERS "127.0.0.1:$KAFKA_PORT" \
    METRICSD_TEST_NODE_EXPORTER_URL "http://127.0.0.1:$NODE_EXPORTER_PORT/metrics" \
    METRICSD_TEST_PEERS_DIR "$PEERS_DIR" \
    METRICSD_TEST_SERVICES_CTL "$HERE/services.sh"
}

write_env() {
  local new
  new="$(mktemp "$CHECKOUT/.services.env.XXXXXX")"
  {
    echo "# Written by scripts/services.sh: where the servers for tests answer. Read it with: source .services.env"
    print_env
  } >"$new"
  chmod 644 "$new"
  mv -f "$new" "$CHECKOUT/.services.env"
}

start_one() {
  if [[ "$ENGINE" == containers ]]; then
    containers_start "$1"
  else
    native_start "$1"
  fi
}

stop_one() {
  if [[ "$ENGINE" == containers ]]; then
    containers_stop "$1"
  else
    native_stop "$1"
  fi
}

kill_one() {
  if [[ "$ENGINE" == containers ]]; then
    containers_kill "$1"
  else
    native_kill "$1"
  fi
}

remove_cluster() {
  local server
  [[ -n "$OWN_CLUSTER" ]] || die "METRICSD_POSTGRES_CLUSTER, METRICSD_REDIS_CLUSTER or METRICSD_KAFKA_CLUSTER has to say which"
  if [[ "$ENGINE" == containers ]]; then
    containers_purge
    return
  fi
  for server in postgres redis kafka; do
    if [[ "$(cluster_of "$server")" == "$OWN_CLUSTER" ]]; then "${server}_remove"; fi
  done
}

start_all() {
  # Each server's address is known beforehand: whoever waits for one server only need not wait for the others.
  write_env
  if [[ "$ENGINE" == containers ]]; then
    containers_start "${SERVERS[@]}"
  else
    local server
    for server in "${SERVERS[@]}"; do native_start "$server"; done
  fi
  prometheus_install
  say "all servers answer; their addresses are in .services.env"
}

stop_all() {
  local i
  for ((i = ${#SERVERS[@]} - 1; i >= 0; i--)); do stop_one "${SERVERS[i]}"; done
  if [[ "$ENGINE" == native ]]; then
    postgres_remove_clusters
    redis_remove_clusters
    kafka_remove_clusters
  fi
}

status_all() {
  local server down=0
  say "engine: $ENGINE, folder: $SERVICES_DIR"
  for server in "${SERVERS[@]}"; do
    if healthy "$server"; then
      say "$server: answers on 127.0.0.1:$(port_of "$server")"
    else
      say "$server: down"
      down=1
    fi
  done
  return "$down"
}

purge_all() {
  stop_all
  if [[ "$ENGINE" == containers ]]; then containers_purge; fi
  # Only a folder that these scripts have made is removed.
  if [[ -f "$SERVICES_DIR/.metricsd-services" ]]; then
    say "removing $SERVICES_DIR"
    as_root rm -rf --one-file-system -- "$SERVICES_DIR"
  fi
  rm -f -- "$CHECKOUT/.services.env"
}

main() {
  local command="${1:-help}" server="${2:-}"
  check_cluster "$server"
  case "$command" in
    help | -h | --help) usage; return ;;
    env) print_env; return ;;
    status)
      choose_engine
      status_all
      return
      ;;
    start | stop | purge | peers | kubernetes | remove-cluster) ;;
    start-one | stop-one | restart-one | kill-one)
      [[ " ${SERVERS[*]} " == *" $server "* && -n "$server" ]] || die "which server? one of: ${SERVERS[*]}"
      ;;
    *) usage >&2; exit 2 ;;
  esac

  prepare_folder
  choose_engine
  take_lock
  case "$command" in
    start) start_all ;;
    stop) stop_all ;;
    purge) purge_all ;;
    peers) peers_install ;;
    kubernetes) kubernetes_install ;;
    start-one) start_one "$server" ;;
    stop-one) stop_one "$server" ;;
    restart-one) stop_one "$server"; start_one "$server" ;;
    kill-one) kill_one "$server" ;;
    remove-cluster) remove_cluster ;;
  esac
}

main "$@"
