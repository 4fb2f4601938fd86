# shellcheck shell=bash
# Redis, run inside the Debian 13 folder. Sourced by scripts/services.sh.

REDIS_DATA="/srv/metricsd/redis${REDIS_CLUSTER:+-cluster-}$REDIS_CLUSTER" # inside $ROOT_DIR

redis_pid_file() { echo "$ROOT_DIR$REDIS_DATA/redis.pid"; }
redis_mark() { echo "redis-server 127.0.0.1:$REDIS_PORT"; }
redis_log() { echo "$ROOT_DIR$REDIS_DATA/redis.log"; }
redis_stop_signal() { echo TERM; }
redis_install() { root_install; }

redis_healthy() {
  local answer
  answer="$(timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$REDIS_PORT && printf 'PING\r\n' >&3 && head -n 1 <&3")"
  [[ "$answer" == +PONG* ]]
}

# Only caches live here, so nothing is written to disk: after a kill it is empty, as metricsd must be able to bear.
redis_start() {
  as_root chroot "$ROOT_DIR" install -d -o redis -g redis -m 700 "$REDIS_DATA"
  in_root redis tee "$REDIS_DATA/redis.conf" >/dev/null <<CONF
bind 127.0.0.1
port $REDIS_PORT
daemonize yes
pidfile $REDIS_DATA/redis.pid
logfile $REDIS_DATA/redis.log
dir $REDIS_DATA
save ""
appendonly no
maxmemory 512mb
maxmemory-policy noeviction
CONF
  in_root redis /usr/bin/redis-server "$REDIS_DATA/redis.conf" </dev/null >/dev/null 2>&1 9>&- || {
    show_log "$(redis_log)"
    die "redis could not be started"
  }
}

# Ends a test's own server and removes it.
redis_remove() {
  native_kill redis
  as_root rm -rf --one-file-system -- "$ROOT_DIR$REDIS_DATA"
}

# Those that tests left behind because they were killed themselves.
redis_remove_clusters() {
  local data own="$REDIS_DATA" port="$REDIS_PORT"
  for data in "$ROOT_DIR"/srv/metricsd/redis-cluster-*/; do
    [[ -d "$data" ]] || continue
    data="${data%/}"
    REDIS_DATA="${data#"$ROOT_DIR"}"
    REDIS_PORT="$(as_root sed -n 's/^port //p' "$data/redis.conf")"
    redis_remove
  done
  REDIS_DATA="$own" REDIS_PORT="$port"
}
