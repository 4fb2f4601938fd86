-- Series and layouts that were removed since nothing of them was left: whoever remembers them as stored reads here what is
-- no longer so. Numbers are given under a lock that no append holds at the same time, and have no gaps; rows stay for
-- some days.
CREATE TABLE removals (
    number bigint PRIMARY KEY,
    layout boolean NOT NULL,
    id     bigint NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE last_removal (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    number bigint NOT NULL
);
INSERT INTO last_removal (number) VALUES (0);
