-- Targets come from users, register themselves for a while, or are found by a provider of a job.
ALTER TABLE metric_targets
    ADD COLUMN origin      varchar(20) NOT NULL DEFAULT 'api',
    ADD COLUMN expires     timestamptz,
    ADD COLUMN job         text COLLATE "C",
    ADD COLUMN provider    varchar(50),
    -- Of everything that was found of a discovered target: what has the same is the same.
    ADD COLUMN fingerprint bigint,
    ADD CONSTRAINT metric_targets_origin CHECK (
        CASE origin
            WHEN 'api' THEN expires IS NULL AND job IS NULL
            WHEN 'registered' THEN expires IS NOT NULL AND job IS NULL
            WHEN 'discovered' THEN expires IS NULL AND job IS NOT NULL AND provider IS NOT NULL AND fingerprint IS NOT NULL
            ELSE false
        END
    );

CREATE INDEX metric_targets_job ON metric_targets (job) WHERE job IS NOT NULL;
CREATE INDEX metric_targets_expires ON metric_targets (expires) WHERE expires IS NOT NULL AND NOT deleting;

-- Labels before relabelling: beside the targets, whose rows are written after every scrape.
CREATE TABLE discovered_labels (
    target_id varchar(100) COLLATE "C" PRIMARY KEY REFERENCES metric_targets (target_id) ON DELETE CASCADE,
    labels    jsonb NOT NULL
);

-- How the discovery of each job goes; that of the file with the jobs under the empty name.
CREATE TABLE discovery_states (
    job   text COLLATE "C" PRIMARY KEY,
    state jsonb NOT NULL
);
