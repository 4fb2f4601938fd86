-- Series and layouts that were removed since nothing of them was left: whoever remembers them as stored reads here what is
-- no longer so. Numbers have no gaps; rows stay for some days.
CREATE TABLE removals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    layout INTEGER NOT NULL CHECK (layout IN (0, 1)),
    id     INTEGER NOT NULL,
    at     INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

-- The greatest number in series.added there ever was, which the greatest that is left is not.
CREATE TABLE last_added (
    single INTEGER PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    number INTEGER NOT NULL
);
INSERT INTO last_added (number) SELECT coalesce(max(added), 0) FROM series;
