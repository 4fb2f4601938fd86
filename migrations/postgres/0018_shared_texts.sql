-- What many series have in common is written once: their name with its description, and whose they are. See
-- docs/decisions/0023.

-- Appends that are under way end first.
LOCK TABLE series IN ACCESS EXCLUSIVE MODE;

-- Whatever refers to the table is made again as it was: views, rights, and indexes that somebody has added.
CREATE TEMP TABLE series_before_0018 ON COMMIT DROP AS
SELECT 'view' AS kind,
       format(
           'CREATE OR REPLACE VIEW %s %s AS %s', c.oid::regclass,
           'WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid)
       ) AS statement
FROM pg_class c
WHERE c.relkind = 'v' AND c.oid IN (
    SELECT w.ev_class
    FROM pg_depend d
    JOIN pg_rewrite w ON w.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = 'series'::regclass
)
UNION ALL
SELECT 'right',
       format(
           'GRANT %s ON series, series_names, series_owners, series_rows TO %s', a.privilege_type,
           CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
       )
FROM pg_class c
CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.oid = 'series'::regclass
UNION ALL
SELECT 'index', regexp_replace(pg_get_indexdef(i.indexrelid), ' ON \S+ USING ', ' ON series_rows USING ')
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'series'::regclass AND c.relname NOT IN ('series_pkey', 'series_metric_name', 'series_added');

ALTER TABLE series RENAME TO series_whole;

-- Numbers may go round: what one stood for that comes again was removed.
CREATE TABLE series_names (
    id          integer GENERATED ALWAYS AS IDENTITY (CYCLE) PRIMARY KEY,
    metric_name varchar(200) NOT NULL,
    metric_type varchar(20) NOT NULL,
    help        text,
    unit        text
);

CREATE TABLE series_owners (
    id          integer GENERATED ALWAYS AS IDENTITY (CYCLE) PRIMARY KEY,
    source      varchar(100) NOT NULL,
    target_id   varchar(100) NOT NULL,
    source_type varchar(50) NOT NULL
);

-- Columns in the order that needs no padding.
CREATE TABLE series_rows (
    id         bigint NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    added      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    name       integer NOT NULL,
    owner      integer NOT NULL,
    labels     jsonb NOT NULL  -- without the metric name
);

-- Texts may be too long for an index.
INSERT INTO series_names (metric_name, metric_type, help, unit)
SELECT DISTINCT ON (metric_name, metric_type, coalesce(md5(help), ''), coalesce(md5(unit), ''))
       metric_name, metric_type, help, unit
FROM series_whole;
CREATE UNIQUE INDEX series_names_said
    ON series_names (metric_name, metric_type, coalesce(md5(help), ''), coalesce(md5(unit), ''));

INSERT INTO series_owners (target_id, source, source_type)
SELECT DISTINCT target_id, source, source_type FROM series_whole;
CREATE UNIQUE INDEX series_owners_whose ON series_owners (target_id, source, source_type);

INSERT INTO series_rows (id, first_seen, added, name, owner, labels)
SELECT s.id, s.first_seen, s.added, n.id, o.id, s.labels
FROM series_whole s
JOIN series_names n
    ON n.metric_name = s.metric_name AND n.metric_type = s.metric_type
    AND coalesce(md5(n.help), '') = coalesce(md5(s.help), '') AND coalesce(md5(n.unit), '') = coalesce(md5(s.unit), '')
JOIN series_owners o ON o.target_id = s.target_id AND o.source = s.source AND o.source_type = s.source_type;

-- The three as one, for whoever reads. No row lacks its name or owner; outer joins let a plan leave out what nobody asks for.
CREATE VIEW series AS
SELECT r.id, n.metric_name, n.metric_type, r.labels, o.source, o.target_id, o.source_type, n.help, n.unit, r.first_seen,
       r.added
FROM series_rows r
LEFT JOIN series_names n ON n.id = r.name
LEFT JOIN series_owners o ON o.id = r.owner;

DO $$
DECLARE
    again record;
BEGIN
    IF (SELECT count(*) FROM series_rows) <> (SELECT count(*) FROM series_whole) THEN
        RAISE EXCEPTION 'some series would be lost';
    END IF;
    FOR again IN SELECT statement FROM series_before_0018 WHERE kind IN ('view', 'right') LOOP
        EXECUTE again.statement;
    END LOOP;
    DROP TABLE series_whole;
    ALTER TABLE series_rows ADD CONSTRAINT series_pkey PRIMARY KEY (id);
    CREATE INDEX series_added ON series_rows (added);
    CREATE INDEX series_name ON series_rows (name);
    FOR again IN SELECT statement FROM series_before_0018 WHERE kind = 'index' LOOP
        BEGIN
            EXECUTE again.statement;
        EXCEPTION WHEN undefined_column THEN
            RAISE WARNING 'not made again: %', again.statement;
        END;
    END LOOP;
    IF EXISTS (SELECT FROM series_rows) THEN
        ANALYZE series_names, series_owners, series_rows;
    END IF;
END
$$;

-- Whoever writes rows of the view: processes that are not yet restarted, and people.
CREATE FUNCTION metricsd_insert_series() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_name  integer;
    of_owner integer;
BEGIN
    LOOP
        SELECT n.id INTO of_name
        FROM series_names n
        WHERE n.metric_name = NEW.metric_name AND n.metric_type = NEW.metric_type
          AND coalesce(md5(n.help), '') = coalesce(md5(NEW.help), '')
          AND coalesce(md5(n.unit), '') = coalesce(md5(NEW.unit), '');
        EXIT WHEN FOUND;
        INSERT INTO series_names (metric_name, metric_type, help, unit)
        VALUES (NEW.metric_name, NEW.metric_type, NEW.help, NEW.unit)
        ON CONFLICT DO NOTHING;
    END LOOP;
    LOOP
        SELECT o.id INTO of_owner
        FROM series_owners o
        WHERE o.target_id = NEW.target_id AND o.source = NEW.source AND o.source_type = NEW.source_type;
        EXIT WHEN FOUND;
        INSERT INTO series_owners (target_id, source, source_type)
        VALUES (NEW.target_id, NEW.source, NEW.source_type)
        ON CONFLICT DO NOTHING;
    END LOOP;
    INSERT INTO series_rows (id, first_seen, added, name, owner, labels)
    VALUES (
        NEW.id, coalesce(NEW.first_seen, now()), coalesce(NEW.added, pg_current_xact_id()), of_name, of_owner, NEW.labels
    );
    RETURN NEW;
END
$$;

CREATE TRIGGER series_inserted INSTEAD OF INSERT ON series
    FOR EACH ROW EXECUTE FUNCTION metricsd_insert_series();

-- Counts how often names or owners were removed: whoever remembers their ids forgets them when it has changed.
ALTER TABLE last_removal ADD COLUMN texts bigint NOT NULL DEFAULT 0;

-- Entries go where they belong at once: those that wait in a list are written twice, and the list's pages stay.
ALTER INDEX layouts_series SET (fastupdate = off);
SELECT gin_clean_pending_list('layouts_series');
