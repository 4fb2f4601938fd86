# shellcheck shell=bash
# A real node_exporter of this machine. Its program comes from the Debian 13 folder but runs outside, where /proc is.
# Sourced by scripts/services.sh.

node_exporter_pid_file() { echo "$RUN_DIR/node_exporter.pid"; }
node_exporter_mark() { echo "prometheus-node-exporter --web.listen-address=127.0.0.1:$NODE_EXPORTER_PORT"; }
node_exporter_log() { echo "$LOG_DIR/node_exporter.log"; }
node_exporter_stop_signal() { echo TERM; }
node_exporter_install() { root_install; }

node_exporter_healthy() {
  local answer
  answer="$(timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$NODE_EXPORTER_PORT &&
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3")"
  [[ "$answer" == HTTP/1.?\ 200* && "$answer" == *node_cpu_seconds_total* ]]
}

node_exporter_start() {
  launch "$(node_exporter_log)" "$ROOT_DIR/usr/bin/prometheus-node-exporter" \
    "--web.listen-address=127.0.0.1:$NODE_EXPORTER_PORT"
  echo "$!" >"$(node_exporter_pid_file)"
}
