#!/usr/bin/env bash
# Makes sure that what the build needs beside Rust is there: librdkafka, SQLite, zstd and ring are compiled from C, and
# librdkafka's ./configure insists on a C++ compiler as well. Installs what is missing with apt; root is needed only then.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

if ! have cargo; then
  echo "build: cargo is not on the PATH. Install Rust first (rustup, or your system's rust packages), then try again." >&2
  exit 1
fi

missing=()
if ! have cc || ! have ar; then missing+=(gcc libc6-dev binutils); fi
have c++ || missing+=(g++)
have make || missing+=(make)
# A compiler without the C library's headers is a common half-installation.
if have cc && ! echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; then missing+=(libc6-dev); fi
((${#missing[@]} > 0)) || exit 0

echo "build: missing for the C libraries: ${missing[*]}"
if ! have apt-get; then
  echo "build: please install them with this system's package manager, then try again." >&2
  exit 1
fi
root=()
if [[ "$(id -u)" != 0 ]]; then
  if ! sudo -n true 2>/dev/null; then
    echo "build: please run: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  root=(sudo -n)
fi
echo "build: installing them with apt"
"${root[@]}" apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
