"""Counts with OpenTelemetry's own SDK and exports to metricsd; prints what it sent as JSON.

Usage: otlp_sdk.py grpc|http ENDPOINT
"""

import json
import sys

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

TRACE, SPAN = 0x0102030405060708090A0B0C0D0E0F10, 0x1112131415161718


def exporter(kind, endpoint):
    if kind == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from grpc import Compression

        return OTLPMetricExporter(endpoint=endpoint, insecure=True, compression=Compression.Gzip, timeout=30)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=endpoint, compression=Compression.Gzip, timeout=30)


def main():
    kind, endpoint = sys.argv[1:]
    resource = Resource.create(
        {"service.name": f"shop-{kind}", "service.namespace": "eu", "service.instance.id": "i-1", "host.name": "h-1"}
    )
    reader = PeriodicExportingMetricReader(exporter(kind, endpoint), export_interval_millis=3_600_000)
    view = View(instrument_name="payload.size", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider(
        metric_readers=[reader], resource=resource, views=[view], exemplar_filter=AlwaysOnExemplarFilter()
    )
    meter = provider.get_meter("clients", "1.0")

    def temperature(_: CallbackOptions):
        yield Observation(21.5, {"room.name": "kitchen"})
        yield Observation(-3, {"room.name": "cellar"})

    orders = meter.create_counter("orders", unit="{order}", description="Orders that were placed.")
    queue = meter.create_up_down_counter("queue.length")
    wait = meter.create_histogram("wait", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1, 10])
    size = meter.create_histogram("payload.size", unit="By")
    meter.create_observable_gauge("room.temperature", [temperature], unit="Cel")

    span = NonRecordingSpan(SpanContext(TRACE, SPAN, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    token = attach(trace.set_span_in_context(span))
    for number in range(1, 101):
        orders.add(number, {"payment.method": "card" if number % 2 else "cash"})
        queue.add(1 if number <= 60 else -1)
        wait.record(number / 10)
        size.record(number)
    detach(token)
    exported = provider.force_flush(30_000)
    provider.shutdown()
    card, cash = sum(range(1, 101, 2)), sum(range(2, 101, 2))
    print(json.dumps({"exported": exported, "card": card, "cash": cash, "queue": 20, "wait": 505.0, "size": 5050}))


if __name__ == "__main__":
    main()
