-- What metricsd knows beside samples. The source document's columns come first in each table, with its limits;
-- what the service needs beside them follows.

-- Ids sort by their bytes in every database, whatever its locale: cursors depend on it.
CREATE TABLE metric_targets (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    target_id     varchar(100) COLLATE "C" NOT NULL UNIQUE,
    target_url    varchar(500) NOT NULL,
    source_type   varchar(50) NOT NULL,
    scrape_config jsonb NOT NULL,
    labels        jsonb NOT NULL DEFAULT '{}',
    health_status varchar(20) NOT NULL DEFAULT 'unknown',
    enabled       boolean NOT NULL DEFAULT true,
    -- The model counts in milliseconds.
    created_at    timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),

    source_id          varchar(100) NOT NULL,
    collection_method  varchar(50) NOT NULL DEFAULT 'PULL_SCRAPING',
    filters            jsonb NOT NULL DEFAULT '[]',
    retention_policy   jsonb,
    health_reason      varchar(20),
    health_error       text,
    last_scrape        timestamptz,
    scrape_duration_ms double precision NOT NULL DEFAULT 0,
    samples_scraped    bigint NOT NULL DEFAULT 0,
    revision           bigint NOT NULL,
    deleting           boolean NOT NULL DEFAULT false,
    scrape_requested   timestamptz
) WITH (fillfactor = 70);  -- health is written after every scrape: leave room on the page

CREATE UNIQUE INDEX metric_targets_revision ON metric_targets (revision);
CREATE INDEX metric_targets_source ON metric_targets (source_id, target_id);
CREATE INDEX metric_targets_labels ON metric_targets USING gin (labels jsonb_path_ops);

-- One row. Its lock is held until the transaction that took a revision commits, so revisions become visible in order
-- and a reader that asks for what came after one misses nothing.
CREATE TABLE catalogue (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    revision bigint NOT NULL
);
INSERT INTO catalogue (revision) VALUES (0);

CREATE FUNCTION metricsd_tell_catalogue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('metricsd_catalogue', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER catalogue_told AFTER UPDATE ON catalogue
    FOR EACH STATEMENT EXECUTE FUNCTION metricsd_tell_catalogue();

-- Order of commit, as near as can be had without making writers wait for each other: a number is taken inside the
-- transaction, so it is exact for appends that do not overlap.
CREATE SEQUENCE append_order;

-- id is the batch id: the primary key is what makes a batch be stored once.
CREATE TABLE collection_jobs (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id                 varchar(100) NOT NULL UNIQUE,
    target_id              varchar(100) NOT NULL,
    collection_method      varchar(50) NOT NULL,
    status                 varchar(20) NOT NULL,
    metrics_collected      bigint NOT NULL DEFAULT 0,
    collection_duration_ms double precision,
    error_details          text,
    created_at             timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),

    source_id varchar(100) NOT NULL,
    received  bigint NOT NULL DEFAULT 0,
    dropped   bigint NOT NULL DEFAULT 0,
    refused   jsonb NOT NULL DEFAULT '{}',
    stored    bigint NOT NULL DEFAULT 0,
    seq       bigint NOT NULL DEFAULT nextval('append_order')
);

CREATE INDEX collection_jobs_created ON collection_jobs (created_at, seq);
CREATE INDEX collection_jobs_target ON collection_jobs (target_id, created_at, seq);

-- Totals since the store was created, in several rows so that writers do not wait for each other.
CREATE TABLE counters (
    slot    smallint PRIMARY KEY CHECK (slot BETWEEN 0 AND 63),
    samples bigint NOT NULL,
    batches bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE processes (
    id      uuid PRIMARY KEY,
    roles   text[] NOT NULL,
    listen  text NOT NULL,
    version text NOT NULL,
    started timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Rows come and go within a second: vacuum early, or the relay wades through what is gone.
CREATE TABLE outbox (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id  varchar(100) NOT NULL,
    event      json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE TABLE relay_lease (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    holder  uuid NOT NULL,
    expires timestamptz NOT NULL
);
