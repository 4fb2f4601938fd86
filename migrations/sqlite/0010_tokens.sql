-- Who may push, read and manage. Of a token only the hash of its secret is kept.
CREATE TABLE access_tokens (
    id           TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    rights       TEXT NOT NULL,
    source_id    TEXT,
    quota        TEXT NOT NULL CHECK (json_valid(quota)),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
);

-- One row, written with every change of a token: who knows the number knows the tokens.
CREATE TABLE access_revision (
    single   INTEGER NOT NULL PRIMARY KEY CHECK (single = 1),
    revision INTEGER NOT NULL
);
INSERT INTO access_revision (single, revision) VALUES (1, 0);
