-- The labels instance and job stand with the owner of series, once for all series that have the same. See
-- docs/decisions/0023.
--
-- Processes of the version before go on beside this. They write rows of series_rows with all labels, and with numbers of
-- owners that they remember or find in series_owners: these numbers stay, for owners without labels, and series_owners is a
-- view of no others. So whatever they write reads as they meant it. They do not find series whose labels stand in two
-- places, which they write in vain: the id is taken, and it is that of the same labels, as far as 64 bits tell. What they
-- answer lacks such series, but for those that they have read before, until they are restarted.

-- Appends that are under way end first.
LOCK TABLE series_rows, series_owners IN ACCESS EXCLUSIVE MODE;

ALTER TABLE series_owners RENAME TO series_holders;
ALTER TABLE series_holders ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';

-- Labels may be too long for an index. Two owners of one target whose labels have the same hash cannot both be written: an
-- append fails then.
DROP INDEX series_owners_whose;
CREATE UNIQUE INDEX series_holders_whose ON series_holders (target_id, source, source_type, jsonb_hash_extended(labels, 0));

CREATE VIEW series_owners AS
SELECT id, source, target_id, source_type FROM series_holders WHERE labels = '{}';

DO $$
DECLARE
    again record;
BEGIN
    FOR again IN
        SELECT format(
            'GRANT %s ON series_owners TO %s', a.privilege_type,
            CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        ) AS statement
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = 'series_holders'::regclass
    LOOP
        EXECUTE again.statement;
    END LOOP;
END
$$;

-- The labels that stand with the owner.
CREATE FUNCTION metricsd_shared_labels(labels jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('instance', labels -> 'instance', 'job', labels -> 'job'))
$$;

CREATE TEMP TABLE series_before_0021 ON COMMIT DROP AS
SELECT id, first_seen, added, name, owner, labels - '{instance,job}'::text[] AS own, metricsd_shared_labels(labels) AS shared
FROM series_rows;
ANALYZE series_before_0021;

INSERT INTO series_holders (target_id, source, source_type, labels)
SELECT DISTINCT o.target_id, o.source, o.source_type, s.shared
FROM series_before_0021 s
JOIN series_owners o ON o.id = s.owner
WHERE s.shared <> '{}';

-- The table is written anew, so that it does not keep the room of what it had.
DO $$
DECLARE
    many bigint := (SELECT count(*) FROM series_before_0021);
BEGIN
    TRUNCATE series_rows;
    INSERT INTO series_rows (id, first_seen, added, name, owner, labels)
    SELECT s.id, s.first_seen, s.added, s.name, h.id, s.own
    FROM series_before_0021 s
    JOIN series_owners o ON o.id = s.owner
    JOIN series_holders h ON h.target_id = o.target_id AND h.source = o.source AND h.source_type = o.source_type AND h.labels = s.shared;
    IF (SELECT count(*) FROM series_rows) <> many THEN
        RAISE EXCEPTION 'some series would be lost';
    END IF;
    IF many > 0 THEN
        ANALYZE series_holders, series_rows;
    END IF;
END
$$;

-- HAVING keeps the planner from putting labels together for each sample instead of once a series, and tells it that there is
-- one row, so that it still leaves out what nobody asks for.
CREATE OR REPLACE VIEW series AS
SELECT r.id, n.metric_name, n.metric_type, l.labels, o.source, o.target_id, o.source_type, n.help, n.unit, r.first_seen,
       r.added
FROM series_rows r
LEFT JOIN series_names n ON n.id = r.name
LEFT JOIN series_holders o ON o.id = r.owner
LEFT JOIN LATERAL (SELECT r.labels || o.labels AS labels HAVING true) AS l ON true;

CREATE OR REPLACE FUNCTION metricsd_insert_series() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_name  integer;
    of_owner integer;
    shared   jsonb := metricsd_shared_labels(NEW.labels);
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
        FROM series_holders o
        WHERE o.target_id = NEW.target_id AND o.source = NEW.source AND o.source_type = NEW.source_type
          AND jsonb_hash_extended(o.labels, 0) = jsonb_hash_extended(shared, 0) AND o.labels = shared;
        EXIT WHEN FOUND;
        INSERT INTO series_holders (target_id, source, source_type, labels)
        VALUES (NEW.target_id, NEW.source, NEW.source_type, shared)
        ON CONFLICT DO NOTHING;
    END LOOP;
    INSERT INTO series_rows (id, first_seen, added, name, owner, labels)
    VALUES (
        NEW.id, coalesce(NEW.first_seen, now()), coalesce(NEW.added, pg_current_xact_id()), of_name, of_owner,
        NEW.labels - '{instance,job}'::text[]
    );
    RETURN NEW;
END
$$;
