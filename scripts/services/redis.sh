# shellcheck shell=bash
# Redis, run inside the Debian 13 folder. Sourced by scripts/services.sh.

redis_pid_file() { echo "$ROOT_DIR/srv/metricsd/redis/redis.pid"; }
redis_mark() { echo "redis-server 127.0.0.1:$REDIS_PORT"; }
redis_log() { echo "$ROOT_DIR/srv/metricsd/redis/redis.log"; }
redis_stop_signal() { echo TERM; }
redis_install() { root_install; }

redis_healthy() {
  local answer
  answer="$(timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$REDIS_PORT && printf 'PING\r\n' >&3 && head -n 1 <&3")"
  [[ "$answer" == +PONG* ]]
}

# Only caches live here, so nothing is written to disk: after a kill it is empty, as metricsd must be able to bear.
redis_start() {
  as_root chroot "$ROOT_DIR" install -d -o redis -g redis -m 700 /srv/metricsd/redis
  in_root redis tee /srv/metricsd/redis/redis.conf >/dev/null <<CONF
bind 127.0.0.1
port $REDIS_PORT
daemonize yes
pidfile /srv/metricsd/redis/redis.pid
logfile /srv/metricsd/redis/redis.log
dir /srv/metricsd/redis
save ""
appendonly no
maxmemory 512mb
maxmemory-policy noeviction
CONF
  in_root redis /usr/bin/redis-server /srv/metricsd/redis/redis.conf </dev/null >/dev/null 2>&1 9>&- || {
    show_log "$(redis_log)"
    die "redis could not be started"
  }
}
