-- Series and layouts are named by small numbers wherever they are named again: an id is a hash of eight bytes that nothing
-- packs. See docs/decisions/0023. What only Rust can rewrite, lists of series in blobs, waits in layouts_before and frames
-- until 0019_numbered.sql.

-- Whoever counts series or describes one anew takes the next number from here, so that whoever follows both sees by one
-- number how far it is. The greatest there ever was, which the greatest that is left is not.
UPDATE last_added SET number = (SELECT coalesce(max(seq), 0) FROM series_rows);

-- When series came to be known: those from this number on, up to the next row's. They come many at a time.
CREATE TABLE series_times (
    seq        INTEGER PRIMARY KEY,
    first_seen INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

INSERT INTO series_times (seq, first_seen)
SELECT seq, first_seen
FROM (SELECT seq, first_seen, lag(first_seen) OVER (ORDER BY seq) AS before FROM series_rows)
WHERE before IS NOT first_seen;

-- Series whose description has changed, with the number of the last change.
CREATE TABLE series_described (
    series INTEGER PRIMARY KEY,
    added  INTEGER NOT NULL
);
CREATE INDEX series_described_added ON series_described (added);

-- The series of an id, by its upper half: the row itself tells whether it is the one.
CREATE TABLE series_ids (
    half INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (half, seq)
) WITHOUT ROWID;

INSERT INTO series_ids (half, seq) SELECT id >> 32, seq FROM series_rows ORDER BY 1, 2;

-- Labels of their own that series share, which those of a fleet mostly do, as the inside of a JSON object. The id is a hash of
-- the text, or one of the next few numbers where another text has it.
CREATE TABLE series_labels (
    id     INTEGER PRIMARY KEY,
    labels TEXT NOT NULL
);
-- Until series_rows is written anew.
CREATE INDEX series_labels_before ON series_labels (labels);

-- Slots are twelfths of an hour since the epoch: where spans begin. times is the id of a timeline, or a blob of this row's
-- own offsets; "values" is the one value that all are, where a number keeps its bits, or a blob.
CREATE TABLE numbered_segments (
    slot       INTEGER NOT NULL,
    series     INTEGER NOT NULL,
    times      NOT NULL,
    origin     INTEGER NOT NULL,
    "values"   NOT NULL,
    histograms BLOB,
    PRIMARY KEY (slot, series)
) WITHOUT ROWID;

CREATE TABLE numbered_segments_daily (
    slot       INTEGER NOT NULL,
    series     INTEGER NOT NULL,
    times      NOT NULL,
    origin     INTEGER NOT NULL,
    "values"   NOT NULL,
    histograms BLOB,
    PRIMARY KEY (slot, series)
) WITHOUT ROWID;

-- In order, so that pages are filled; keys are sorted and not rows, which may not fit where SQLite sorts. (A subquery with a
-- limit keeps its order.) Where a time were no beginning of a slot, the whole migration would fail.
INSERT INTO numbered_segments (slot, series, times, origin, "values", histograms)
SELECT CASE WHEN g.time % 300000 = 0 THEN g.time / 300000 END, k.seq, coalesce(g.timeline, g.offsets), g.origin, g."values",
       g.histograms
FROM (
    SELECT g.time, g.series, s.seq FROM segments g CROSS JOIN series_rows s ON s.id = g.series ORDER BY g.time, s.seq LIMIT -1
) AS k
CROSS JOIN segments g ON g.time = k.time AND g.series = k.series;

INSERT INTO numbered_segments_daily (slot, series, times, origin, "values", histograms)
SELECT CASE WHEN g.time % 300000 = 0 THEN g.time / 300000 END, k.seq, coalesce(g.timeline, g.offsets), g.origin, g."values",
       g.histograms
FROM (
    SELECT g.time, g.series, s.seq FROM segments_daily g CROSS JOIN series_rows s ON s.id = g.series
    ORDER BY g.time, s.seq LIMIT -1
) AS k
CROSS JOIN segments_daily g ON g.time = k.time AND g.series = k.series;

DROP TABLE segments;
DROP TABLE segments_daily;
ALTER TABLE numbered_segments RENAME TO segments;
ALTER TABLE numbered_segments_daily RENAME TO segments_daily;

CREATE TABLE numbered_rollups (
    step   INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    series INTEGER NOT NULL,
    spans  BLOB,
    PRIMARY KEY (step, day, series)
) WITHOUT ROWID;

INSERT INTO numbered_rollups (step, day, series, spans)
SELECT k.step, k.day, k.seq, r.spans
FROM (
    SELECT r.step, r.day, r.series, s.seq FROM rollups r CROSS JOIN series_rows s ON s.id = r.series
    ORDER BY r.step, r.day, s.seq LIMIT -1
) AS k
CROSS JOIN rollups r ON r.step = k.step AND r.day = k.day AND r.series = k.series;

DROP TABLE rollups;
ALTER TABLE numbered_rollups RENAME TO rollups;

CREATE TABLE numbered_exemplars (
    series      INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    labels_hash INTEGER NOT NULL,
    value       INTEGER NOT NULL,  -- the bits of the float: SQLite has no NaN
    labels      TEXT NOT NULL CHECK (json_valid(labels)),
    target_id   TEXT NOT NULL CHECK (length(target_id) <= 100),
    UNIQUE (series, time, labels_hash)
);

INSERT INTO numbered_exemplars (series, time, labels_hash, value, labels, target_id)
SELECT s.seq, e.time, e.labels_hash, e.value, e.labels, e.target_id
FROM exemplars e CROSS JOIN series_rows s ON s.id = e.series
ORDER BY e.rowid;

DROP TABLE exemplars;
ALTER TABLE numbered_exemplars RENAME TO exemplars;
CREATE INDEX exemplars_time ON exemplars (time);

-- AUTOINCREMENT: what is remembered of a layout is remembered by its number.
ALTER TABLE layouts RENAME TO layouts_before;
DROP TABLE layout_series;
CREATE TABLE layouts (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         INTEGER NOT NULL UNIQUE,
    series     BLOB NOT NULL,
    first_seen INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

-- Which layouts hold series of a block: series have numbers in the order in which layouts name them, so that a layout holds
-- most of a block mostly. Which of them it holds is for its list to say.
CREATE TABLE layout_blocks (
    block  INTEGER NOT NULL,
    layout INTEGER NOT NULL,
    PRIMARY KEY (block, layout)
) WITHOUT ROWID;

-- Of series: the number that readers know it by; of those removed before there were numbers nobody is left who knows them.
ALTER TABLE removals ADD COLUMN seq INTEGER;
