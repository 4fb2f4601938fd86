#!/usr/bin/env python3
"""Checks compose files where no container engine is at hand: check_compose.py FILE [OVERLAY ...].

The overlays are laid over the first file, as `docker compose -f a -f b` does, as far as these checks need it.
"""

import re
import sys

import yaml

TOP_LEVEL = {"name", "services", "volumes", "networks", "configs", "secrets"}
SERVICE = {
    "build", "cap_add", "cap_drop", "command", "depends_on", "deploy", "entrypoint", "env_file", "environment",
    "expose", "healthcheck", "hostname", "image", "init", "labels", "networks", "ports", "profiles", "read_only",
    "restart", "secrets", "shm_size", "stop_grace_period", "stop_signal", "tmpfs", "ulimits", "user", "volumes",
    "working_dir",
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
VARIABLE = re.compile(r"\$\{[A-Z_]+:-([^}]*)\}")
PORT = re.compile(r"127\.0\.0\.1:(\d+):(\d+)")


class UniqueLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys; a compose file with two is a mistake."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def lay_over(base, top):
    """Mappings merge, lists append, anything else is replaced."""
    if isinstance(base, dict) and isinstance(top, dict):
        return base | {key: lay_over(base[key], value) if key in base else value for key, value in top.items()}
    if isinstance(base, list) and isinstance(top, list):
        return base + top
    return top


def load(path):
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, UniqueLoader)


def check_top(name, document):
    if not isinstance(document, dict):
        yield f"{name}: expected a mapping"
        return
    for key in document:
        if key not in TOP_LEVEL and not key.startswith("x-"):
            yield f"{name}: unknown top-level key {key!r}"


def check_service(name, service, services, volumes):
    for key in service:
        if key not in SERVICE:
            yield f"unknown key {key!r}"
    if "image" not in service and "build" not in service:
        yield "neither image nor build"
    if ":" not in str(service.get("image", ":")):
        yield "the image has no version"
    yield from check_depends(name, service.get("depends_on", {}), services)
    for port in service.get("ports", []):
        if not (isinstance(port, str) and PORT.fullmatch(VARIABLE.sub(r"\1", port))):
            yield f"port {port!r}: expected 127.0.0.1:HOST:CONTAINER"
    for volume in service.get("volumes", []):
        source = str(volume).split(":", 1)[0]
        if not source.startswith((".", "/")) and source not in volumes:
            yield f"volume {source!r} is not declared"
    environment = service.get("environment", {})
    for key, value in environment.items() if isinstance(environment, dict) else []:
        if not isinstance(value, str):
            yield f"environment {key}: expected a string, got {value!r}: quote it"
    if "healthcheck" not in service:
        yield "no healthcheck"


def check_depends(name, depends, services):
    conditions = depends if isinstance(depends, dict) else {other: {} for other in depends}
    for other, how in conditions.items():
        condition = how.get("condition", "service_started")
        if other == name or other not in services:
            yield f"depends_on {other!r}: no such other service"
        elif condition not in CONDITIONS:
            yield f"depends_on {other!r}: unknown condition {condition!r}"
        elif condition == "service_healthy" and services[other].get("healthcheck", {}).get("disable", False):
            yield f"depends_on {other!r}: waits for health, but its healthcheck is disabled"


def check_host_ports(services):
    taken = {}
    for name, service in services.items():
        for port in service.get("ports", []):
            host = VARIABLE.sub(r"\1", str(port)).rsplit(":", 1)[0]
            if host in taken:
                yield f"services {taken[host]} and {name} both want {host}"
            taken[host] = name


def main(paths):
    if not paths:
        sys.exit(__doc__)
    problems, whole = [], {}
    for path in paths:
        document = load(path)
        problems += check_top(path, document)
        whole = lay_over(whole, document)
    services = whole.get("services") or {}
    if not services:
        problems.append("no services")
    for name, service in services.items():
        for problem in check_service(name, service, services, whole.get("volumes") or {}):
            problems.append(f"service {name}: {problem}")
    problems += check_host_ports(services)
    for problem in problems:
        print(f"compose: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"compose: {' + '.join(paths)}: {len(services)} services, all well formed")


if __name__ == "__main__":
    main(sys.argv[1:])
