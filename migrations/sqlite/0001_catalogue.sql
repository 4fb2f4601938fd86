-- What metricsd knows beside samples. The source document's columns come first in each table, with its limits;
-- what the service needs beside them follows. Times are milliseconds since the epoch, ids of UUID kind are text.

CREATE TABLE metric_targets (
    id            TEXT NOT NULL PRIMARY KEY,
    target_id     TEXT NOT NULL UNIQUE CHECK (length(target_id) <= 100),
    target_url    TEXT NOT NULL CHECK (length(target_url) <= 500),
    source_type   TEXT NOT NULL CHECK (length(source_type) <= 50),
    scrape_config TEXT NOT NULL CHECK (json_valid(scrape_config)),
    labels        TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels)),
    health_status TEXT NOT NULL DEFAULT 'unknown' CHECK (length(health_status) <= 20),
    enabled       INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    created_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),

    source_id          TEXT NOT NULL CHECK (length(source_id) <= 100),
    collection_method  TEXT NOT NULL DEFAULT 'PULL_SCRAPING' CHECK (length(collection_method) <= 50),
    filters            TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(filters)),
    retention_policy   TEXT CHECK (json_valid(retention_policy)),
    health_reason      TEXT,
    health_error       TEXT,
    last_scrape        INTEGER,
    scrape_duration_ms REAL NOT NULL DEFAULT 0,
    samples_scraped    INTEGER NOT NULL DEFAULT 0,
    revision           INTEGER NOT NULL,
    deleting           INTEGER NOT NULL DEFAULT 0 CHECK (deleting IN (0, 1)),
    scrape_requested   INTEGER
);

CREATE UNIQUE INDEX metric_targets_revision ON metric_targets (revision);
CREATE INDEX metric_targets_source ON metric_targets (source_id, target_id);

-- One row. It outlives the targets, so a revision is never given twice, not even after the newest target has gone.
CREATE TABLE catalogue (
    single   INTEGER PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    revision INTEGER NOT NULL
);
INSERT INTO catalogue (revision) VALUES (0);

-- id is the batch id: that it is unique is what makes a batch be stored once. Writers come one after another, so the
-- rowid grows in order of commit.
CREATE TABLE collection_jobs (
    id                     TEXT NOT NULL PRIMARY KEY,
    job_id                 TEXT NOT NULL UNIQUE CHECK (length(job_id) <= 100),
    target_id              TEXT NOT NULL CHECK (length(target_id) <= 100),
    collection_method      TEXT NOT NULL CHECK (length(collection_method) <= 50),
    status                 TEXT NOT NULL CHECK (length(status) <= 20),
    metrics_collected      INTEGER NOT NULL DEFAULT 0,
    collection_duration_ms REAL,
    error_details          TEXT,
    created_at             INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),

    source_id TEXT NOT NULL CHECK (length(source_id) <= 100),
    received  INTEGER NOT NULL DEFAULT 0,
    dropped   INTEGER NOT NULL DEFAULT 0,
    refused   TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(refused)),
    stored    INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX collection_jobs_created ON collection_jobs (created_at);
CREATE INDEX collection_jobs_target ON collection_jobs (target_id, created_at);

-- Totals since the store was created.
CREATE TABLE counters (
    single  INTEGER PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    samples INTEGER NOT NULL,
    batches INTEGER NOT NULL
);
INSERT INTO counters (samples, batches) VALUES (0, 0);

CREATE TABLE processes (
    id      TEXT NOT NULL PRIMARY KEY,
    roles   TEXT NOT NULL CHECK (json_valid(roles)),
    listen  TEXT NOT NULL,
    version TEXT NOT NULL,
    started INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    expires INTEGER NOT NULL
);

-- AUTOINCREMENT: a number is never used again, or a relay that was held up would forget an event that is new.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    source_id  TEXT NOT NULL CHECK (length(source_id) <= 100),
    event      TEXT NOT NULL CHECK (json_valid(event)),
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

CREATE TABLE relay_lease (
    single  INTEGER PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    holder  TEXT NOT NULL,
    expires INTEGER NOT NULL
);
