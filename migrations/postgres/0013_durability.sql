-- The account of each collection beside its samples: what metricsd added, which scrapes before it were not done, and where
-- it waited. Rows that are removed leave their sums by target, source and hour.
ALTER TABLE collection_jobs
    ADD COLUMN added  bigint NOT NULL DEFAULT 0,
    ADD COLUMN missed jsonb,
    ADD COLUMN waited varchar(10);

CREATE TABLE ledger_hours (
    hour        timestamptz NOT NULL,
    target_id   varchar(100) NOT NULL,
    source_id   varchar(100) NOT NULL,
    collections bigint NOT NULL,
    failed      bigint NOT NULL,
    spooled     bigint NOT NULL,
    logged      bigint NOT NULL,
    received    bigint NOT NULL,
    dropped     bigint NOT NULL,
    stored      bigint NOT NULL,
    added       bigint NOT NULL,
    refused     jsonb NOT NULL,
    missed      jsonb NOT NULL,
    PRIMARY KEY (hour, target_id, source_id)
);

CREATE FUNCTION metricsd_add_counts(a jsonb, b jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, total), '{}')
    FROM (
        SELECT key, sum(value::bigint) AS total
        FROM (SELECT * FROM jsonb_each_text(a) UNION ALL SELECT * FROM jsonb_each_text(b)) AS counts
        GROUP BY key
    ) AS totals
$$;

-- How far each partition of a sample log is stored. Moved in the transaction that stores what stands before.
CREATE TABLE log_positions (
    log         text COLLATE "C" NOT NULL,
    "partition" integer NOT NULL,
    next        bigint NOT NULL,
    PRIMARY KEY (log, "partition")
) WITH (fillfactor = 20);

-- Records of a sample log that no store takes.
CREATE TABLE parked_records (
    log         text COLLATE "C" NOT NULL,
    "partition" integer NOT NULL,
    position    bigint NOT NULL,
    error       text NOT NULL,
    content     bytea NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log, "partition", position)
);
CREATE INDEX parked_records_at ON parked_records (parked_at);
