# shellcheck shell=bash
# PostgreSQL 17 with TimescaleDB, run inside the Debian 13 folder. Sourced by scripts/services.sh.

POSTGRES_BIN=/usr/lib/postgresql/17/bin
POSTGRES_DATA="/srv/metricsd/${POSTGRES_CLUSTER:+cluster-}${POSTGRES_CLUSTER:-postgres}" # inside $ROOT_DIR
POSTGRES_LOG="$POSTGRES_DATA.log"

postgres_pid_file() { echo "$ROOT_DIR$POSTGRES_DATA/postmaster.pid"; }
postgres_mark() { echo "$POSTGRES_BIN/postgres -D $POSTGRES_DATA"; }
postgres_log() { echo "$ROOT_DIR$POSTGRES_LOG"; }
postgres_stop_signal() { echo INT; } # "fast": ends sessions, writes a checkpoint
postgres_install() { root_install; }

postgres_healthy() {
  if [[ "$ENGINE" == containers ]]; then
    containers_exec postgres psql -U "$POSTGRES_USER" -d postgres -Atqc 'select 1' | grep -qx 1
  else
    [[ -x "$ROOT_DIR$POSTGRES_BIN/psql" ]] &&
      in_root postgres /usr/bin/env PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=3 \
        "$POSTGRES_BIN/psql" -h 127.0.0.1 -p "$POSTGRES_PORT" -U "$POSTGRES_USER" -d postgres -Atqc 'select 1' </dev/null |
      grep -qx 1
  fi
}

postgres_start() {
  if ! as_root test -s "$ROOT_DIR$POSTGRES_DATA/PG_VERSION"; then postgres_init; fi
  postgres_configure
  postgres_drop_stale_pid
  # pg_ctl's own check of the password and the wait are left to wait_ready: one place decides what "answers" means.
  if ! in_root postgres "$POSTGRES_BIN/pg_ctl" -D "$POSTGRES_DATA" -l "$POSTGRES_LOG" -W start </dev/null >/dev/null 2>&1 9>&-; then
    show_log "$(postgres_log)"
    die "postgres could not be started"
  fi
}

postgres_init() {
  say "postgres: making a new data folder"
  local log="$LOG_DIR/initdb.log"
  as_root rm -rf --one-file-system -- "$ROOT_DIR$POSTGRES_DATA"
  as_root chroot "$ROOT_DIR" install -d -o postgres -g postgres -m 700 "$POSTGRES_DATA"
  as_root chroot "$ROOT_DIR" install -o postgres -g postgres -m 600 /dev/null "$POSTGRES_LOG"
  # The password file lies beside the data folder for as long as initdb runs.
  printf '%s\n' "$POSTGRES_PASSWORD" | in_root postgres tee /tmp/metricsd-initdb >/dev/null
  if ! in_root postgres "$POSTGRES_BIN/initdb" -D "$POSTGRES_DATA" -U "$POSTGRES_USER" --pwfile=/tmp/metricsd-initdb \
    --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 </dev/null >"$log" 2>&1 9>&-; then
    show_log "$log"
    die "initdb failed"
  fi
  as_root rm -f "$ROOT_DIR/tmp/metricsd-initdb"
  echo "include = 'metricsd.conf'" | in_root postgres tee -a "$POSTGRES_DATA/postgresql.conf" >/dev/null
}

# Ends a test's own cluster and removes it.
postgres_remove() {
  native_kill postgres
  as_root rm -rf --one-file-system -- "$ROOT_DIR$POSTGRES_DATA" "$ROOT_DIR$POSTGRES_LOG"
}

# Those that tests left behind because they were killed themselves.
postgres_remove_clusters() {
  local data own_data="$POSTGRES_DATA" own_log="$POSTGRES_LOG"
  for data in "$ROOT_DIR"/srv/metricsd/cluster-*/; do
    [[ -d "$data" ]] || continue
    data="${data%/}"
    POSTGRES_DATA="${data#"$ROOT_DIR"}"
    POSTGRES_LOG="$POSTGRES_DATA.log"
    postgres_remove
  done
  POSTGRES_DATA="$own_data"
  POSTGRES_LOG="$own_log"
}

# Written at every start, so that a change here reaches data folders that exist. Durability stays at PostgreSQL's
# defaults (fsync, synchronous_commit, full_page_writes): tests kill this server and count what is left.
postgres_configure() {
  in_root postgres tee "$POSTGRES_DATA/metricsd.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
# No local socket: its lock file would be one more thing to go stale.
unix_socket_directories = ''
max_connections = 200
max_locks_per_transaction = 256
shared_buffers = 256MB
# Tests kill this server: little to replay, and no file by file sync of hundreds of databases.
max_wal_size = 256MB
recovery_init_sync_method = syncfs
# Nothing is mounted in this folder, /dev/shm neither.
dynamic_shared_memory_type = sysv
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
# The launcher holds up DROP DATABASE until it wakes; tests drop many.
timescaledb.bgw_launcher_poll_time = 1000
# Each test makes a database of its own, and TimescaleDB would run a scheduler of its policies in each. The Apache
# edition has no policies, so a few are plenty; past the limit it only writes a line to the log.
timescaledb.max_background_workers = 8
max_worker_processes = 32
default_toast_compression = lz4
log_line_prefix = '%m [%p] %d '
CONF
}

# PostgreSQL refuses to start when the process of its pid file is alive, whoever that is by now: another program, after
# the machine was started anew, or a killed server that its parent has not reaped. Such a file is dropped, but only when
# no old backend holds the data any more. The file of a dead process is left to PostgreSQL, which makes that check itself.
postgres_drop_stale_pid() {
  local file pid backends
  file="$(postgres_pid_file)"
  pid="$(as_root head -n 1 "$file" 2>/dev/null)" || return 0
  [[ "$pid" =~ ^[0-9]+$ && -d "/proc/$pid" ]] || return 0
  if is_server postgres "$pid"; then return; fi
  mapfile -t backends < <(postgres_backends)
  if ((${#backends[@]} > 0)); then
    say "postgres: ending what an earlier server has left: ${backends[*]}"
    as_root kill -KILL "${backends[@]}" 2>/dev/null || true
    sleep 0.5
  fi
  say "postgres: dropping the pid file of an earlier session (process $pid is not the server any more)"
  as_root rm -f -- "$file"
}

# Every living process whose working folder is the data folder: PostgreSQL's processes all stay there.
postgres_backends() {
  local link
  for link in /proc/[0-9]*/cwd; do
    if [[ "$(as_root readlink "$link" 2>/dev/null)" == "$ROOT_DIR$POSTGRES_DATA" ]]; then
      link="${link#/proc/}"
      echo "${link%/cwd}"
    fi
  done
}
