-- The account of each collection beside its samples: what metricsd added, which scrapes before it were not done, and where
-- it waited. Rows that are removed leave their sums by target, source and hour.
ALTER TABLE collection_jobs ADD COLUMN added INTEGER NOT NULL DEFAULT 0;
ALTER TABLE collection_jobs ADD COLUMN missed TEXT CHECK (json_valid(missed));
ALTER TABLE collection_jobs ADD COLUMN waited TEXT;

CREATE TABLE ledger_hours (
    hour        INTEGER NOT NULL,
    target_id   TEXT NOT NULL,
    source_id   TEXT NOT NULL,
    collections INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    spooled     INTEGER NOT NULL,
    logged      INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    dropped     INTEGER NOT NULL,
    stored      INTEGER NOT NULL,
    added       INTEGER NOT NULL,
    refused     TEXT NOT NULL CHECK (json_valid(refused)),
    missed      TEXT NOT NULL CHECK (json_valid(missed)),
    PRIMARY KEY (hour, target_id, source_id)
) WITHOUT ROWID;

-- How far each partition of a sample log is stored. Moved in the transaction that stores what stands before.
CREATE TABLE log_positions (
    log         TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    next        INTEGER NOT NULL,
    PRIMARY KEY (log, "partition")
) WITHOUT ROWID;

-- Records of a sample log that no store takes.
CREATE TABLE parked_records (
    log         TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    error       TEXT NOT NULL,
    content     BLOB NOT NULL,
    parked_at   INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (log, "partition", position)
);
