# shellcheck shell=bash
# A real Kubernetes API server and the etcd it needs. Only their programs are installed, into $PEERS_DIR, and only on
# demand: tests start servers of their own, which they may kill, where they find these programs.
# kube-apiserver is built from its Go module, which takes minutes and a Go toolchain. Sourced by scripts/services.sh.

KUBERNETES_VERSION=1.34.4

kubernetes_install() {
  if [[ ! -x "$PEERS_DIR/etcd" ]]; then
    apt_install etcd-server
    mkdir -p "$PEERS_DIR"
    ln -sfn "$(command -v etcd)" "$PEERS_DIR/etcd"
  fi
  if [[ ! -x "$PEERS_DIR/kube-apiserver" ]]; then kubernetes_build; fi
  say "etcd and kube-apiserver are in $PEERS_DIR"
}

kubernetes_build() {
  local source="$SERVICES_DIR/kube-apiserver" module version="v$KUBERNETES_VERSION" name
  command -v go >/dev/null || die "kube-apiserver is built with Go, which is not installed"
  say "building kube-apiserver $version, which takes some minutes"
  mkdir -p "$source"
  module="$(go mod download -json "k8s.io/kubernetes@$version" 9>&- | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')"
  [[ -d "$module" ]] || die "the Go module k8s.io/kubernetes@$version cannot be had"
  # Its own libraries are modules of the same release, which the module itself names by folders that are not in it.
  sed -e 's#^module .*#module apiserver#' \
    -e "s#=> ./staging/src/\(k8s.io/[a-z-]*\)#=> \1 v0.${KUBERNETES_VERSION#1.}#" \
    -e "0,/^require (/s##require (\n\tk8s.io/kubernetes $version#" "$module/go.mod" >"$source/go.mod"
  cp "$module/go.sum" "$source/go.sum"
  chmod u+w "$source/go.sum"
  name=k8s.io/component-base/version
  (
    cd "$source"
    CGO_ENABLED=0 GOFLAGS='-mod=mod -buildvcs=false -trimpath' go build -o "$PEERS_DIR/kube-apiserver.partial" \
      -ldflags "-s -w -X $name.gitVersion=$version -X $name.gitMajor=1 -X $name.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")" \
      k8s.io/kubernetes/cmd/kube-apiserver 9>&-
  ) || die "kube-apiserver could not be built"
  mv -fT "$PEERS_DIR/kube-apiserver.partial" "$PEERS_DIR/kube-apiserver"
}
