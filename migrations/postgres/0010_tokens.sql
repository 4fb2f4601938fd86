-- Who may push, read and manage. Of a token only the hash of its secret is kept.
CREATE TABLE access_tokens (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    rights       text NOT NULL,
    source_id    varchar(100),
    quota        jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- One row, written with every change of a token: who knows the number knows the tokens.
CREATE TABLE access_revision (
    single   boolean PRIMARY KEY CHECK (single),
    revision bigint NOT NULL
);
INSERT INTO access_revision (single, revision) VALUES (true, 0);
