#!/usr/bin/env bash
# Invariants that the dependency graph does not show: who reads the environment, and that no queue is unbounded.
# The rules stand in docs/architecture.md; tests and examples may do as they please.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

status=0
forbid() { # what it means, pattern, folders…
  local meaning="$1" pattern="$2"
  shift 2
  local found
  found="$(grep -rnE --include='*.rs' "$pattern" "$@" | grep -vE '/(tests|examples|conformance|fuzz)/|tests\.rs:' || true)"
  if [[ -n "$found" ]]; then
    echo "invariants: $meaning"
    echo "  ${found//$'\n'/$'\n'  }"
    status=1
  fi
}

libraries=()
for crate in crates/*/; do [[ "$crate" == crates/metricsd/ ]] || libraries+=("${crate}src"); done

forbid 'only the binary reads the environment' '(std::)?env::(var|vars|var_os|vars_os)\(' "${libraries[@]}"
forbid 'every queue is bounded' 'unbounded_channel|UnboundedSender|channel::unbounded|mpsc::channel\(\)' crates/*/src
forbid 'model does no I/O and reads no clock' '(std|tokio)::(fs|net|io|time::Instant)|SystemTime|Utc::now' crates/model/src
exit "$status"
