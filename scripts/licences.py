#!/usr/bin/env python3
"""Checks what the workspace depends on, from `cargo metadata`: licences, bans, one crate a purpose, and who may use what.

Exit status 1 and one line a finding when something is wrong. Change the tables below together with the reason.
"""

import json
import re
import subprocess
import sys

# Licences that may be linked into an Apache-2.0 binary and ask no more than a notice.
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
}

# A crate whose manifest names no SPDX expression: name -> what its licence file says, after somebody has read it.
READ_BY_HAND = {}

# Crates that may appear nowhere, not even below another one.
BANNED = {
    "openssl-sys": "TLS is rustls with ring: no system library to match, one stack to patch",
    "native-tls": "TLS is rustls with ring",
    "aws-lc-sys": "rustls uses ring: aws-lc takes minutes and cmake to build",
    "serde_yaml": "unmaintained; serde-saphyr reads YAML",
    "serde_yml": "unsound and unmaintained; serde-saphyr reads YAML",
    "async-std": "unmaintained; tokio is the runtime",
    "failure": "unmaintained; thiserror and anyhow",
    "structopt": "part of clap now",
    "atty": "unmaintained; std::io::IsTerminal",
    "rusqlite": "sqlx reads SQLite; two would link SQLite twice",
    "jemalloc-sys": "unmaintained; tikv-jemallocator if ever measured to help",
}

# One purpose, one crate, among what our own crates ask for directly.
ONE_OF = {
    "dates and times": {"chrono", "time", "jiff"},
    "error types for libraries": {"thiserror", "snafu", "quick-error"},
    "errors in the binary": {"anyhow", "eyre", "color-eyre"},
    "logs and traces": {"tracing", "log", "slog"},
    "HTTP server": {"axum", "actix-web", "warp", "poem", "rocket", "salvo"},
    "HTTP client": {"reqwest", "ureq", "isahc", "attohttpc", "surf"},
    "SQL": {"sqlx", "diesel", "sea-orm", "tokio-postgres", "rusqlite"},
    "Redis": {"redis", "fred", "rustis"},
    "Kafka": {"rdkafka", "rskafka", "kafka", "krafka"},
    "protobuf": {"prost", "protobuf", "quick-protobuf", "micropb"},
    "JSON": {"serde_json", "simd-json", "sonic-rs", "json"},
    "YAML": {"serde-saphyr", "saphyr", "yaml-rust2", "serde_norway"},
    "in-process cache": {"moka", "quick_cache", "mini-moka", "lru", "cached"},
    "our own metrics": {"prometheus-client", "prometheus", "metrics", "opentelemetry"},
    "fast hashing": {"xxhash-rust", "twox-hash", "ahash", "siphasher", "fxhash", "rustc-hash"},
    "property tests": {"proptest", "quickcheck"},
    "command line": {"clap", "argh", "lexopt", "pico-args"},
    "tables": {"comfy-table", "tabled", "prettytable-rs", "cli-table"},
    "lazy values": {"once_cell", "lazy_static"},
}

# One outside system, one crate of ours: (normal use, use in tests only).
OWNERS = {
    # The binary's end-to-end tests look into every system with an ordinary client.
    "sqlx": ({"metricsd-postgres", "metricsd-sqlite"}, {"metricsd"}),
    "rdkafka": ({"metricsd-kafka"}, {"metricsd"}),
    "redis": ({"metricsd-redis"}, {"metricsd"}),
    "kube": ({"metricsd-kubernetes"}, set()),
    "axum": ({"metricsd-http", "metricsd"}, {"metricsd-scrape", "metricsd-discovery", "metricsd-kubernetes"}),
    "clap": ({"metricsd", "metricsd-benches"}, set()),
    "tonic": ({"metricsd-grpc"}, {"metricsd"}),
    "parquet": ({"metricsd-files"}, set()),
}

# Which of our crates a crate of ours may use: the table in the design. "*" is everything.
BASE = {"model", "ports"}
LAYERS = {
    "model": set(),
    "codec": {"model"},
    "sharding": {"model"},
    "index": {"model"},
    "ports": {"model", "index", "sharding"},
    # Remote write looks series up by the bytes of its body: anything between the two would be built for every sample.
    "ingest": BASE | {"codec", "files"},
    "relabel": {"model"},
    "client": {"model"},
    "scrape": BASE | {"ingest", "codec", "sharding", "relabel", "client"},
    "discovery": BASE | {"relabel", "client"},
    "promql": BASE,
    "store": BASE | {"codec", "index"},
    "shards": BASE | {"sharding"},
    "postgres": BASE | {"codec", "store", "sharding"},
    "sqlite": BASE | {"codec", "store"},
    "redis": BASE | {"codec"},
    "kafka": BASE | {"codec"},
    "spool": BASE | {"codec"},
    "kubernetes": BASE | {"discovery", "client"},
    "collectors": BASE | {"ingest"},
    "files": {"model", "codec"},
    "listeners": BASE | {"codec", "ingest"},
    "grpc": BASE | {"codec", "ingest"},
    "http": BASE | {"codec", "files", "listeners", "sharding", "ingest", "scrape", "discovery", "promql", "collectors"},
}
FREE = {"metricsd", "metricsd-benches"}

# `model` is values only: nothing in it may be able to reach a socket, a file or a clock's timer.
NO_IO = {"metricsd-model", "metricsd-sharding", "metricsd-index"}
IO_CRATES = {"tokio", "reqwest", "hyper", "socket2", "mio", "sqlx", "redis", "rdkafka", "axum", "notify", "tempfile"}


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit("licences: cargo metadata failed; is Cargo.lock up to date?")
    return json.loads(done.stdout)


def satisfied(expression):
    """Does an SPDX expression leave us a choice among the allowed licences?"""
    tokens = re.findall(r"[()]|[^\s()/]+|/", expression)
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        if peek() is None:
            raise ValueError("ends too early")
        position += 1
        return tokens[position - 1]

    def one():
        if peek() == "(":
            take()
            good = either()
            if take() != ")":
                raise ValueError("a parenthesis is not closed")
            return good
        name = take()
        if peek() == "WITH":
            name = f"{name} {take()} {take()}"
        return name in ALLOWED

    def both():
        good = one()
        while peek() == "AND":
            take()
            good = one() and good
        return good

    def either():
        good = both()
        while peek() in ("OR", "/"):
            take()
            good = both() or good
        return good

    good = either()
    if peek() is not None:
        raise ValueError(f"unexpected {peek()!r}")
    return good


def check_licences(packages):
    for package in packages:
        label = f"{package['name']} {package['version']}"
        expression = package["license"] or READ_BY_HAND.get(package["name"])
        if not expression:
            yield f"{label}: no licence expression; read its licence and note it in READ_BY_HAND"
            continue
        try:
            if not satisfied(expression):
                yield f"{label}: licence {expression!r} is not allowed"
        except ValueError as error:
            yield f"{label}: licence {expression!r} cannot be read: {error}"


def check_bans(packages):
    for package in packages:
        if package["name"] in BANNED:
            yield f"{package['name']} {package['version']} is banned: {BANNED[package['name']]}"


def check_purposes(ours):
    direct = {dependency["name"] for package in ours for dependency in package["dependencies"]}
    for purpose, crates in ONE_OF.items():
        used = sorted(direct & crates)
        if len(used) > 1:
            yield f"{purpose}: {' and '.join(used)} are both used; keep one"


def check_owners(ours):
    for package in ours:
        for dependency in package["dependencies"]:
            if dependency["name"] not in OWNERS:
                continue
            owners, testers = OWNERS[dependency["name"]]
            allowed = owners | testers if dependency["kind"] == "dev" else owners
            if package["name"] not in allowed:
                kind = "in tests " if dependency["kind"] == "dev" else ""
                yield f"{package['name']} uses {dependency['name']} {kind}directly; only {', '.join(sorted(owners))} may"


def check_layers(ours):
    for package in ours:
        if package["name"] in FREE:
            continue
        allowed = LAYERS.get(package["name"].removeprefix("metricsd-"))
        if allowed is None:
            yield f"{package['name']}: not in the table LAYERS; say there what it may depend on"
            continue
        for dependency in package["dependencies"]:
            other = dependency["name"].removeprefix("metricsd-")
            if dependency["name"].startswith("metricsd-") and dependency["kind"] != "dev" and other not in allowed:
                yield f"{package['name']} depends on {dependency['name']}; it may depend on {sorted(allowed)}"
        if package["name"] in NO_IO:
            for dependency in package["dependencies"]:
                if dependency["name"] in IO_CRATES and dependency["kind"] != "dev":
                    yield f"{package['name']} depends on {dependency['name']}, which does I/O"


def check_own_manifests(ours):
    for package in ours:
        if package["license"] != "Apache-2.0":
            yield f"{package['name']}: its licence is {package['license']!r}, expected 'Apache-2.0' (license.workspace = true)"
        if package["publish"] != []:
            yield f"{package['name']}: publish = false is missing (publish.workspace = true)"


def main():
    data = metadata()
    members = set(data["workspace_members"])
    ours = [package for package in data["packages"] if package["id"] in members]
    others = [package for package in data["packages"] if package["id"] not in members]
    findings = [
        *check_licences(others), *check_bans(others), *check_purposes(ours), *check_owners(ours), *check_layers(ours),
        *check_own_manifests(ours),
    ]
    for finding in findings:
        print(f"licences: {finding}", file=sys.stderr)
    if findings:
        sys.exit(1)
    print(f"licences: {len(others)} dependencies of {len(ours)} crates: licences, bans, owners and layers are in order")


if __name__ == "__main__":
    main()
