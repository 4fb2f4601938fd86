-- Series and layouts that were removed since nothing of them was left: whoever remembers them as stored reads here what is
-- no longer so. Numbers have no gaps; rows stay for some days.
CREATE TABLE removals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    layout INTEGER NOT NULL CHECK (layout IN (0, 1)),
    id     INTEGER NOT NULL,
    at     INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
