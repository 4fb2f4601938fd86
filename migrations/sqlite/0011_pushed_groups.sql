-- Groups of metrics that were pushed and stand until somebody removes them. Times are milliseconds since the epoch.
CREATE TABLE pushed_groups (
    id           BLOB NOT NULL PRIMARY KEY,
    version      BLOB NOT NULL,
    labels       TEXT NOT NULL CHECK (json_valid(labels)),
    source_id    TEXT NOT NULL,
    series       INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    pushed_at    INTEGER,
    failed_at    INTEGER,
    expire_after INTEGER,
    -- Last, so that what is before it is read without it.
    families     BLOB NOT NULL
);

-- Type of each family, by which groups are compared.
CREATE TABLE pushed_families (
    group_id BLOB NOT NULL REFERENCES pushed_groups (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    PRIMARY KEY (group_id, name)
) WITHOUT ROWID;

CREATE INDEX pushed_families_name ON pushed_families (name);
