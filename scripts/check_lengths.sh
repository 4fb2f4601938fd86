#!/usr/bin/env bash
# No Rust file past 500 lines: a longer one holds more than one thought.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=500 long=0
while IFS= read -r file; do
  lines="$(wc -l <"$file")"
  if ((lines > limit)); then
    echo "check: $file has $lines lines, more than $limit" >&2
    long=1
  fi
done < <(find crates benches -name '*.rs' -not -path '*/target/*')
exit "$long"
