//! What each key is for, in a line: `config keys` shows it. A test sees to it that no key is missing.

/// What a key is for; empty for a path that is no key.
pub(super) fn meaning(path: &str) -> &'static str {
    MEANINGS
        .iter()
        .find(|(key, _)| *key == path)
        .map_or("", |(_, meaning)| meaning)
}

/// In the order of the file.
pub(super) const MEANINGS: &[(&str, &str)] = &[
    ("listen", "address and port that the HTTP server listens on"),
    ("roles", "what this process does: api, worker, ingest, writer"),
    ("data_dir", "folder for what this process keeps on disk"),
    (
        "storage.url",
        "sqlite:PATH or postgres://…; sqlite:<data_dir>/metricsd.db where absent",
    ),
    ("storage.url_file", "file that holds storage.url"),
    (
        "storage.max_connections",
        "connections to the database, at most; at least 2",
    ),
    (
        "storage.chunk_interval",
        "time that one chunk of samples covers; whole hours",
    ),
    (
        "storage.space_partitions",
        "partitions of a chunk by source; more than 1 only for several disks",
    ),
    ("cache.url", "redis://… or rediss://…; in process where absent"),
    ("cache.url_file", "file that holds cache.url"),
    (
        "events.brokers",
        "Kafka brokers, host:port; events stay in process where empty",
    ),
    ("events.topic", "topic of the metrics_collected events"),
    ("events.format", "json or protobuf"),
    ("events.settings", "settings handed to librdkafka as they are"),
    (
        "events.sasl_password_file",
        "file that holds the setting sasl.password",
    ),
    (
        "scrape.default_interval",
        "time between two scrapes of a target that names none",
    ),
    (
        "scrape.default_timeout",
        "a scrape that takes longer has failed, for a target that names none",
    ),
    ("scrape.concurrency", "scrapes in flight in one process, at most"),
    (
        "scrape.allow_cidrs",
        "networks that may be scraped whatever else forbids it",
    ),
    (
        "scrape.close_private",
        "refuse loopback and private networks as targets",
    ),
    ("scrape.self_scrape", "standalone: scrape this process itself"),
    (
        "scrape.node_exporter",
        "standalone: scrape this page when it answers at start; empty to never ask",
    ),
    (
        "limits.max_labels",
        "labels of one series, the metric name included",
    ),
    ("limits.max_label_name_bytes", "bytes of a label's name"),
    ("limits.max_label_value_bytes", "bytes of a label's value"),
    ("limits.max_metric_name_bytes", "bytes of a metric's name"),
    ("limits.max_scrape_samples", "samples of one scrape"),
    ("limits.max_push_items", "items of one push"),
    (
        "limits.max_page_bytes",
        "bytes of a scraped page, after decompression",
    ),
    ("limits.max_body_bytes", "bytes of a request's body as it arrives"),
    (
        "limits.max_decompressed_bytes",
        "bytes of a request's body after decompression",
    ),
    (
        "limits.max_sample_age",
        "samples older than this are refused; 0s for no bound",
    ),
    (
        "limits.max_sample_future",
        "samples further ahead than this are refused; 0s for no bound",
    ),
    (
        "limits.max_queue_bytes",
        "bytes of batches that wait for the store; beyond it pushes get 503",
    ),
    ("limits.max_query_series", "series that one query may touch"),
    ("limits.max_query_samples", "samples that one query may read"),
    (
        "commit.max_delay",
        "a batch waits this long at most for others to be committed with",
    ),
    (
        "commit.max_bytes",
        "a commit begins when this much waits, whatever the delay",
    ),
    ("jobs.retention", "how long rows of collection_jobs are kept"),
    ("query.look_back", "how old a sample an instant query still takes"),
    ("query.timeout", "a query that takes longer is stopped"),
    ("query.max_concurrent", "queries at work in one process, at most"),
    (
        "secrets.key",
        "key that seals targets' credentials: 32 bytes as base64 or hex",
    ),
    (
        "secrets.key_file",
        "file that holds secrets.key; <data_dir>/secret.key is made where both are absent",
    ),
    ("log.level", "error, warn, info, debug or trace"),
    ("log.format", "text for people, json for machines"),
    (
        "shutdown.timeout",
        "how long a stopping process may take to finish what it accepted",
    ),
];
