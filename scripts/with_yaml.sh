#!/usr/bin/env bash
# Runs a Python script that needs PyYAML: with the system's when it has one, else with one installed by pip into a
# virtual environment under the cache folder (the system's Python is left as it is).
set -euo pipefail

if python3 -c 'import yaml' 2>/dev/null; then exec python3 "$@"; fi
venv="${XDG_CACHE_HOME:-$HOME/.cache}/metricsd-venv"
if ! "$venv/bin/python" -c 'import yaml' 2>/dev/null; then
  echo "check: installing PyYAML into $venv"
  if ! python3 -m venv "$venv" >/dev/null 2>&1 || ! "$venv/bin/pip" install -q pyyaml; then
    echo "check: PyYAML is needed: apt-get install python3-yaml, or python3-venv for a copy in $venv" >&2
    exit 1
  fi
fi
exec "$venv/bin/python" "$@"
