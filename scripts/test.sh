#!/usr/bin/env bash
# Runs every test of the workspace and ends with one line: how many passed and failed over all test programs.
# Arguments go to `cargo test`, so that `scripts/test.sh -p metricsd-sqlite` runs one crate's tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ! -f .services.env ]]; then
  echo "test: .services.env is not there; run 'make services' first" >&2
  exit 1
fi
# shellcheck disable=SC1091
source .services.env

log="$(mktemp)"
trap 'rm -f "$log"' EXIT

(($# > 0)) || set -- --workspace
status=0
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

# Each test program prints: test result: ok. 5 passed; 0 failed; 1 ignored; ...
read -r passed failed skipped < <(
  sed -e 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    /^test result: / {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^failed/) failed += $(i - 1)
        if ($i ~ /^ignored/) skipped += $(i - 1)
      }
    }
    END { print passed + 0, failed + 0, skipped + 0 }'
)
# A program that did not compile or died has no result line, and yet it failed.
if ((status != 0 && failed == 0)); then
  failed=1
  echo "test: cargo test ended with status $status; a test program did not compile or died before its result"
fi

line="$passed passed, $failed failed"
if ((skipped > 0)); then line+=", $skipped skipped"; fi
printf '\n%s\n' "$line"
if ((status == 0 && failed > 0)); then status=1; fi
exit "$status"
