#!/usr/bin/env bash
# Runs Python with packages in an environment of their own, which is made once: with_python.sh NAME 'PACKAGE …' SCRIPT [ARGUMENT …]
# Exit status 77 where that cannot be: no Python, or no packages to be had.
set -euo pipefail
name="$1" packages="$2"
shift 2
venv="${XDG_CACHE_HOME:-$HOME/.cache}/metricsd-venv-$name"
if ! [ -e "$venv/complete" ]; then
  echo "installing $packages into $venv" >&2
  rm -rf "$venv"
  # shellcheck disable=SC2086
  if ! python3 -m venv "$venv" >&2 || ! "$venv/bin/pip" install -q $packages >&2; then
    echo "python3 with $packages is not to be had" >&2
    exit 77
  fi
  touch "$venv/complete"
fi
exec "$venv/bin/python" "$@"
