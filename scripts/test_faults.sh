#!/usr/bin/env bash
# Tests that kill processes and servers while samples come in, and count afterwards. The argument is how many seconds
# each of the courses in durable.rs and random_faults goes on at least.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck disable=SC1091
source .services.env
export METRICSD_TEST_FAULTS_SECONDS="${1:-60}"
cargo test -p metricsd --test random_faults -- --include-ignored --nocapture --test-threads 1
cargo test -p metricsd --test durable -- --nocapture --test-threads 1
cargo test -p metricsd --test killed --test ring --test faults -- --test-threads 1
