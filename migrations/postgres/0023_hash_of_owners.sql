-- Two owners of one target cannot both be written where their labels have the same hash. So its beginning is drawn anew for each
-- database: whoever may push labels cannot look for such pairs.
DO $$
BEGIN
    EXECUTE format(
        'CREATE FUNCTION metricsd_owner_hash(labels jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
            AS ''SELECT jsonb_hash_extended(labels, %s)''',
        ('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint
    );
END
$$;

LOCK TABLE series_rows, series_holders IN ACCESS EXCLUSIVE MODE;
DROP INDEX series_holders_whose;
CREATE UNIQUE INDEX series_holders_whose ON series_holders (target_id, source, source_type, metricsd_owner_hash(labels));

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
          AND metricsd_owner_hash(o.labels) = metricsd_owner_hash(shared) AND o.labels = shared;
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
