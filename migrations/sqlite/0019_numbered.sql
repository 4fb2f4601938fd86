-- The end of 0018_numbers.sql, in the same transaction: by now lists of series name them by their numbers.

UPDATE frames SET layout = (SELECT l.number FROM layouts l WHERE l.id = frames.layout) WHERE layout IS NOT NULL;
DROP TABLE layouts_before;

-- Without what series_times, series_described and series_ids say. labels is an id in series_labels, or the text itself where it
-- is short or found no free id.
DROP VIEW series;
CREATE TABLE numbered_series (
    seq    INTEGER PRIMARY KEY,
    id     INTEGER NOT NULL,
    name   INTEGER NOT NULL,
    owner  INTEGER NOT NULL,
    labels NOT NULL
);
INSERT INTO numbered_series (seq, id, name, owner, labels)
SELECT s.seq, s.id, s.name, s.owner,
       coalesce((SELECT l.id FROM series_labels l WHERE l.labels = s.labels LIMIT 1), s.labels)
FROM series_rows s ORDER BY s.seq;
DROP INDEX series_labels_before;
DROP TABLE series_rows;
ALTER TABLE numbered_series RENAME TO series_rows;

-- All of them as one, for whoever reads.
CREATE VIEW series AS
SELECT s.seq, s.id, n.metric_name, n.metric_type,
       '{' || o.labels || CASE WHEN o.labels = '' OR s.labels = '' THEN '' ELSE ',' END
           || coalesce((SELECT l.labels FROM series_labels l WHERE l.id = s.labels), s.labels) || '}' AS labels,
       o.source, o.target_id, o.source_type, n.help, n.unit,
       (SELECT t.first_seen FROM series_times t WHERE t.seq <= s.seq ORDER BY t.seq DESC LIMIT 1) AS first_seen,
       coalesce((SELECT d.added FROM series_described d WHERE d.series = s.seq), s.seq) AS added
FROM series_rows s
CROSS JOIN series_names n ON n.id = s.name
CROSS JOIN series_owners o ON o.id = s.owner;
