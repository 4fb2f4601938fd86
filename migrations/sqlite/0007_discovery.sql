-- Targets come from users, register themselves for a while, or are found by a provider of a job.
ALTER TABLE metric_targets ADD COLUMN origin TEXT NOT NULL DEFAULT 'api'
    CHECK (origin IN ('api', 'registered', 'discovered'));
ALTER TABLE metric_targets ADD COLUMN expires INTEGER;
ALTER TABLE metric_targets ADD COLUMN job TEXT;
ALTER TABLE metric_targets ADD COLUMN provider TEXT;
-- Of everything that was found of a discovered target: what has the same is the same.
ALTER TABLE metric_targets ADD COLUMN fingerprint INTEGER;

CREATE INDEX metric_targets_job ON metric_targets (job) WHERE job IS NOT NULL;
CREATE INDEX metric_targets_expires ON metric_targets (expires) WHERE expires IS NOT NULL AND NOT deleting;

-- Labels before relabelling: beside the targets, whose rows are written after every scrape.
CREATE TABLE discovered_labels (
    target_id TEXT NOT NULL PRIMARY KEY REFERENCES metric_targets (target_id) ON DELETE CASCADE,
    labels    TEXT NOT NULL CHECK (json_valid(labels))
);

-- How the discovery of each job goes; that of the file with the jobs under the empty name.
CREATE TABLE discovery_states (
    job   TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (json_valid(state))
);
