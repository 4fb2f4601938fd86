-- What is to be done once, by whichever process comes first: uploads, and whatever else must survive its worker.
CREATE TABLE work (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL,
    source_id  TEXT NOT NULL,
    spec       TEXT NOT NULL,
    progress   TEXT NOT NULL DEFAULT 'null',
    -- What makes two pieces of work the same; absent of what is dead or cancelled.
    content    TEXT,
    received   INTEGER NOT NULL DEFAULT 0,
    tries      INTEGER NOT NULL DEFAULT 0,
    max_tries  INTEGER NOT NULL,
    claim      INTEGER NOT NULL DEFAULT 0,
    worker     TEXT,
    cancelling INTEGER NOT NULL DEFAULT 0,
    error      TEXT,
    -- When it may be claimed: it waits until then, or its lease ends then.
    due        INTEGER NOT NULL,
    keep       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

CREATE UNIQUE INDEX work_content ON work (kind, source_id, content) WHERE content IS NOT NULL;
CREATE INDEX work_due ON work (seq) WHERE state IN ('queued', 'running');

-- The bytes of uploads, in the pieces in which they came; gone when the work is over.
CREATE TABLE work_bytes (
    work  TEXT NOT NULL REFERENCES work (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (work, start)
);
