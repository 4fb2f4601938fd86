#!/usr/bin/env python3
"""Measures what a million active series take of metricsd's memory, pushed by remote write or scraped.

    scripts/memory.py target/release/metricsd --way push   --storage sqlite
    scripts/memory.py target/release/metricsd --way scrape --storage postgres://…

Starts the binary on a folder of its own, sends or serves the series, asks for the report of series, and prints
resident memory, now and at most, in bytes a series. A database that is named must be empty; it is left as it is.
"""

import argparse
import http.client
import http.server
import json
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time

REGIONS = ["eu-west-1", "eu-north-1", "us-east-1", "ap-south-1"]


def labels(number):
    """Ten labels, one of them different for each series."""
    pod = number // 50
    return [
        ("__name__", f"app_metric_{number % 50}_total"),
        ("cluster", f"prod-{pod % 8}"),
        ("container", "app"),
        ("id", f"{number:08x}"),
        ("instance", f"10.{pod >> 16}.{pod >> 8 & 255}.{pod & 255}:9100"),
        ("job", "kubernetes-pods"),
        ("namespace", f"team-{pod % 40}"),
        ("pod", f"app-{pod % 40}-{pod:06x}"),
        ("region", REGIONS[pod % 4]),
        ("zone", f"zone-{pod % 12}"),
    ]


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(tag, body):
    return bytes([tag << 3 | 2]) + varint(len(body)) + body


def block(body):
    """Snappy, as one run of literals for every 64 KiB."""
    out = bytearray(varint(len(body)))
    for at in range(0, len(body), 65536):
        part = body[at : at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part
    return bytes(out)


def named(first, count):
    """The labels of a request's series, encoded."""
    return [
        b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in labels(number))
        for number in range(first, first + count)
    ]


def request(encoded, at, value):
    sample = field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at))
    return block(b"".join(field(1, one + sample) for one in encoded))


class Metricsd:
    def __init__(self, binary, storage):
        self.folder = tempfile.mkdtemp(prefix="metricsd-memory-")
        self.port = 19000 + os.getpid() % 1000
        settings = {
            "METRICSD_SCRAPE_SELF_SCRAPE": "false",
            "METRICSD_SCRAPE_NODE_EXPORTER": "",
            "METRICSD_LOG_LEVEL": "warn",
        }
        if storage != "sqlite":
            settings["METRICSD_STORAGE_URL"] = storage
        command = [binary, "run", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder]
        self.process = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
        for _ in range(300):
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("metricsd was not ready")

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def resident(self):
        """Resident memory now, and the most it was, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return [int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]

    def show(self, what, series):
        now, most = self.resident()
        print(f"{what}: {now / 1e6:.0f} MB, at most {most / 1e6:.0f} MB; {now / series:.0f} bytes a series", flush=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.folder)


def push(server, series, rounds):
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    count = 10_000
    encoded = {first: named(first, count) for first in range(0, series, count)}
    for turn in range(rounds):
        at = int(time.time() * 1000)
        for first, lists in encoded.items():
            body = request(lists, at, float(turn))
            while True:
                status, text = server.ask("POST", "/api/v1/write", body, headers)
                if status == 204:
                    break
                if status != 503:
                    raise SystemExit(f"{status}: {text[:500]}")
                time.sleep(1)
        server.show(f"pushed {turn + 1} times", series)


def scrape(server, series, rounds, interval):
    count = 1_000
    pages = []
    for target in range(series // count):
        lines = []
        for number in range(target * count, (target + 1) * count):
            pairs = [pair for pair in labels(number)[1:] if pair[0] not in ("instance", "job")]
            text = ",".join(f'{name}="{value}"' for name, value in pairs)
            lines.append(f"app_metric_{number % 50}_total{{{text}}} 1.5")
        names = [f"# HELP app_metric_{n}_total What was counted by the application, number {n}.\n"
                 f"# TYPE app_metric_{n}_total counter\n" for n in range(50)]
        pages.append(("".join(names) + "\n".join(lines) + "\n").encode())

    class Pages(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            page = pages[int(self.path.split("/")[1])]
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer.request_queue_size = 1024
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    for target in range(len(pages)):
        config = {
            "target_url": f"http://127.0.0.1:{listener.server_port}",
            "metrics_path": f"/{target}",
            "scrape_interval": f"{interval}s",
            "scrape_timeout": f"{interval}s",
        }
        body = json.dumps({"source_id": f"app-{target % 40}", "target_id": f"t{target}", "scrape_config": config})
        status, text = server.ask("POST", "/api/v1/metrics/targets", body, {"content-type": "application/json"})
        if status not in (200, 201):
            raise SystemExit(f"{status}: {text[:500]}")
    for turn in range(rounds):
        time.sleep(interval)
        server.show(f"after {(turn + 1) * interval} s", series)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--way", choices=["push", "scrape"], default="push")
    parser.add_argument("--storage", default="sqlite")
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=int, default=10, help="seconds between two scrapes of a target")
    options = parser.parse_args()
    server = Metricsd(options.binary, options.storage)
    try:
        server.show("begin", options.series)
        if options.way == "push":
            push(server, options.series, options.rounds)
        else:
            scrape(server, options.series, options.rounds, options.interval)
        status, report = server.ask("GET", "/api/v1/metrics/cardinality?limit=1")
        if status == 200:
            report = json.loads(report)
            print(f"{report['series']} series stored, {report['active_series']} active")
        print(server.ask("GET", "/api/v1/status/tsdb?limit=1")[1][:120].decode())
        server.show("with the label index", options.series)
    finally:
        server.stop()


main()
