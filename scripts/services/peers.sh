# shellcheck shell=bash
# Other servers of the same kind, which tests and benchmarks set side by side with metricsd: Prometheus (with promtool)
# and VictoriaMetrics. Only their programs are installed, into $PEERS_DIR; whoever wants one starts it. They are Go
# programs that need nothing of the folder that they come from. Sourced by scripts/services.sh.

PROMETHEUS_IMAGE=prom/prometheus:v2.53.5
VICTORIA_METRICS_IMAGE=victoriametrics/victoria-metrics:v1.112.0

prometheus_install() {
  if [[ "$ENGINE" == containers ]]; then
    peer_copy "$PROMETHEUS_IMAGE" /bin/prometheus prometheus
    peer_copy "$PROMETHEUS_IMAGE" /bin/promtool promtool
  else
    root_install
    peer_link prometheus prometheus
    peer_link promtool promtool
  fi
}

victoria_metrics_install() {
  if [[ "$ENGINE" == containers ]]; then
    peer_copy "$VICTORIA_METRICS_IMAGE" /victoria-metrics-prod victoria-metrics
  else
    root_install
    root_add victoria-metrics
    peer_link victoria-metrics victoria-metrics
  fi
}

# A program of the Debian 13 folder.
peer_link() {
  [[ -x "$ROOT_DIR/usr/bin/$1" ]] || die "$1 is not in $ROOT_DIR/usr/bin, although its package is installed"
  mkdir -p "$PEERS_DIR"
  ln -sfn "$ROOT_DIR/usr/bin/$1" "$PEERS_DIR/$2"
}

# A program of an image. The link to a native one, if any, is replaced.
peer_copy() {
  local image="$1" from="$2" to="$PEERS_DIR/$3" container
  if [[ -x "$to" && ! -L "$to" ]]; then return; fi
  say "taking $3 from the image $image"
  mkdir -p "$PEERS_DIR"
  container="$(docker create "$image" 9>&-)" || die "the image $image cannot be had"
  if ! docker cp "$container:$from" "$to.partial" 9>&-; then
    docker rm "$container" >/dev/null
    die "$from is not in the image $image"
  fi
  docker rm "$container" >/dev/null
  mv -fT "$to.partial" "$to"
}

peers_install() {
  prometheus_install
  victoria_metrics_install
  say "prometheus, promtool and victoria-metrics are in $PEERS_DIR"
}
