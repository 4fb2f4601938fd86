-- Groups of metrics that were pushed and stand until somebody removes them. Times are milliseconds since the epoch.
CREATE TABLE pushed_groups (
    id           uuid PRIMARY KEY,
    version      uuid NOT NULL,
    labels       jsonb NOT NULL,
    source_id    varchar(100) NOT NULL,
    series       bigint NOT NULL,
    bytes        bigint NOT NULL,
    pushed_at    bigint,
    failed_at    bigint,
    expire_after bigint,
    families     bytea NOT NULL
);

-- Type of each family, by which groups are compared.
CREATE TABLE pushed_families (
    group_id uuid NOT NULL REFERENCES pushed_groups (id) ON DELETE CASCADE,
    name     text COLLATE "C" NOT NULL,
    kind     varchar(20) NOT NULL,
    PRIMARY KEY (group_id, name)
);

CREATE INDEX pushed_families_name ON pushed_families USING hash (name);
