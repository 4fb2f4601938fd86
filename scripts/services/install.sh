# shellcheck shell=bash
# Installing what the native servers need: Debian packages and the Debian 13 folder. Sourced by scripts/services.sh.

# Installs Debian packages with apt. Nothing happens when the list is empty.
apt_install() {
  (($# > 0)) || return 0
  command -v apt-get >/dev/null || die "please install: $* (there is no apt here), or start a container engine (docker)"
  say "installing with apt: $*"
  local log="$LOG_DIR/apt.log"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >"$log" 2>&1 9>&- ||
    ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >>"$log" 2>&1 9>&-; then
    show_log "$log"
    die "apt could not install: $*"
  fi
}

# Debian 13 in $ROOT_DIR with $ROOT_PACKAGES. It is built beside its place and moved there when whole, so that a broken
# build is never used. A folder that was built with fewer packages gets the others.
root_install() {
  if [[ -f "$ROOT_DIR/.metricsd-packages" ]]; then
    root_add "${ROOT_PACKAGES[@]}"
    return
  fi
  as_root true
  if ! command -v debootstrap >/dev/null && [[ ! -x /usr/sbin/debootstrap ]]; then
    apt_install debootstrap debian-archive-keyring
  fi
  say "unpacking Debian 13 with TimescaleDB, Redis, node_exporter and Prometheus into $ROOT_DIR (once; one to two minutes, 900 MB)"
  local partial="$ROOT_DIR.partial" log="$LOG_DIR/debootstrap.log" packages
  packages="$(join_commas "${ROOT_PACKAGES[@]}")"
  as_root rm -rf --one-file-system -- "$partial"
  if ! as_root env PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive \
    debootstrap --variant=minbase --include="$packages" trixie "$partial" >"$log" 2>&1 9>&-; then
    show_log "$log"
    as_root rm -rf --one-file-system -- "$partial"
    die "debootstrap could not unpack Debian 13"
  fi
  as_root chroot "$partial" apt-get clean
  printf '%s\n' "$packages" | as_root tee "$partial/.metricsd-packages" >/dev/null
  if [[ -d "$ROOT_DIR" ]]; then
    # An older folder: keep the data, replace the programs.
    if as_root test -d "$ROOT_DIR/srv/metricsd"; then as_root cp -a "$ROOT_DIR/srv/metricsd" "$partial/srv/"; fi
    as_root rm -rf --one-file-system -- "$ROOT_DIR"
  fi
  as_root mv "$partial" "$ROOT_DIR"
}

# Packages in $ROOT_DIR beyond those that are there, with one call of apt. Nothing in the folder starts by itself.
root_add() {
  local package missing=() log="$LOG_DIR/apt-trixie.log"
  for package in "$@"; do
    [[ -f "$ROOT_DIR/var/lib/dpkg/info/$package.list" ]] || missing+=("$package")
  done
  ((${#missing[@]} > 0)) || return 0
  say "installing into $ROOT_DIR: ${missing[*]}"
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$ROOT_DIR/usr/sbin/policy-rc.d" >/dev/null
  as_root chmod 755 "$ROOT_DIR/usr/sbin/policy-rc.d"
  if ! in_root_apt update -q >"$log" 2>&1 ||
    ! in_root_apt install -q -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    show_log "$log"
    die "apt could not install into $ROOT_DIR: ${missing[*]}"
  fi
  in_root_apt clean
}

in_root_apt() { as_root env DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin" chroot "$ROOT_DIR" apt-get "$@" 9>&-; }

join_commas() {
  local IFS=,
  printf '%s\n' "$*"
}

# Runs a program inside $ROOT_DIR: in_root USER PROGRAM ...
in_root() {
  local user="$1"
  shift
  as_root chroot --userspec="$user:$user" "$ROOT_DIR" "$@"
}
