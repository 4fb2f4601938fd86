# shellcheck shell=bash
# The same servers from their official images, where a container engine runs: docker-compose.yml with the ports of the
# tests and deploy/compose.test.yml on top. Sourced by scripts/services.sh.

containers_available() { timeout 20 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

compose() {
  METRICSD_POSTGRES_PORT="$POSTGRES_PORT" METRICSD_REDIS_PORT="$REDIS_PORT" METRICSD_KAFKA_PORT="$KAFKA_PORT" \
    METRICSD_NODE_EXPORTER_PORT="$NODE_EXPORTER_PORT" METRICSD_POSTGRES_PASSWORD="$POSTGRES_PASSWORD" \
    docker compose --project-name "metricsd-test${OWN_CLUSTER:+-$OWN_CLUSTER}" --project-directory "$CHECKOUT" \
    -f "$CHECKOUT/docker-compose.yml" -f "$CHECKOUT/deploy/compose.test.yml" "$@" 9>&-
}

# Names of these scripts -> names of the compose files.
containers_name() { echo "${1//_/-}"; }

containers_exec() {
  local server
  server="$(containers_name "$1")"
  shift
  compose exec -T "$server" "$@" </dev/null
}

containers_start() {
  local server names=()
  for server in "$@"; do names+=("$(containers_name "$server")"); done
  say "starting containers: ${names[*]}"
  if ! compose up --detach --wait --wait-timeout 300 "${names[@]}"; then
    compose logs --tail 40 "${names[@]}" >&2 || true
    die "not every container became healthy: ${names[*]}"
  fi
  local started="$SECONDS"
  for server in "$@"; do
    until healthy "$server"; do
      if ((SECONDS - started > 60)); then
        compose logs --tail 40 "$(containers_name "$server")" >&2 || true
        die "$server does not answer on 127.0.0.1:$(port_of "$server")"
      fi
      sleep 0.5
    done
    say "$server: answers"
  done
}

containers_stop() {
  say "$1: stopping its container"
  compose stop "$(containers_name "$1")"
}

containers_kill() {
  say "$1: kill -9"
  compose kill --signal KILL "$(containers_name "$1")"
}

containers_purge() {
  say "removing the containers and their volumes"
  compose down --volumes --remove-orphans
}
