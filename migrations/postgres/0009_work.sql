-- What is to be done once, by whichever process comes first: uploads, and whatever else must survive its worker.
CREATE TABLE work (
    id         uuid PRIMARY KEY,
    kind       varchar(30) NOT NULL,
    state      varchar(20) NOT NULL,
    source_id  varchar(100) NOT NULL,
    -- JSON as text: what a worker is told, and what it notes, may hold characters that jsonb refuses.
    spec       text NOT NULL,
    progress   text NOT NULL DEFAULT 'null',
    -- What makes two pieces of work the same; absent of what is dead or cancelled.
    content    text,
    received   bigint NOT NULL DEFAULT 0,
    tries      integer NOT NULL DEFAULT 0,
    max_tries  integer NOT NULL,
    claim      bigint NOT NULL DEFAULT 0,
    worker     uuid,
    cancelling boolean NOT NULL DEFAULT false,
    error      text,
    -- When it may be claimed: it waits until then, or its lease ends then.
    due        timestamptz NOT NULL DEFAULT clock_timestamp(),
    keep       interval NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX work_content ON work (kind, source_id, content) WHERE content IS NOT NULL;
CREATE INDEX work_due ON work (created_at) WHERE state IN ('queued', 'running');
CREATE INDEX work_created_at ON work (created_at DESC);

-- The bytes of uploads, in the pieces in which they came; gone when the work is over.
CREATE TABLE work_bytes (
    work  uuid NOT NULL REFERENCES work (id) ON DELETE CASCADE,
    start bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (work, start)
);

-- They are mostly compressed already.
ALTER TABLE work_bytes ALTER COLUMN bytes SET STORAGE EXTERNAL;
