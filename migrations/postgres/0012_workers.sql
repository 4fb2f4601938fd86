-- Workers that share the targets. All times are this server's, in milliseconds since the epoch where a worker computes
-- with them.

CREATE TABLE workers (
    member             uuid PRIMARY KEY,
    process            uuid NOT NULL,
    weight             integer NOT NULL,
    draining           boolean NOT NULL,
    targets            bigint NOT NULL,
    samples_per_second bigint NOT NULL,
    capacity           bigint NOT NULL,
    renewed            timestamptz NOT NULL,
    expires            timestamptz NOT NULL,
    -- Whether a plan has taken the worker into account.
    placed             boolean NOT NULL DEFAULT false,
    -- The last change of the ring that it has said to know.
    known              bigint NOT NULL
) WITH (fillfactor = 50);

-- One row; its lock is what makes plans come one after another.
CREATE TABLE ring (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch  bigint NOT NULL
);
INSERT INTO ring (epoch) VALUES (0);

CREATE TABLE ring_grants (
    bucket   integer PRIMARY KEY,
    owner    uuid NOT NULL,
    epoch    bigint NOT NULL,
    since    bigint NOT NULL,
    previous uuid,
    began    bigint NOT NULL,
    gap      bigint
) WITH (fillfactor = 50);

CREATE INDEX ring_grants_epoch ON ring_grants (epoch);
CREATE INDEX ring_grants_owner ON ring_grants (owner);
CREATE INDEX ring_grants_previous ON ring_grants (previous) WHERE previous IS NOT NULL;

CREATE TRIGGER ring_told AFTER UPDATE ON ring
    FOR EACH STATEMENT EXECUTE FUNCTION metricsd_tell_catalogue();

CREATE FUNCTION metricsd_now() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

-- Carries a plan out, all or nothing; false where it does not fit any more. One statement for the one who plans, so that
-- nothing is locked while that process may be stopped.
CREATE FUNCTION metricsd_propose(
    base bigint, made bigint, fresh bigint, lost uuid[], seen uuid[],
    buckets integer[], owners uuid[], sinces bigint[], previouses uuid[], begans bigint[], gaps bigint[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    gone integer;
BEGIN
    UPDATE ring SET epoch = base + 1 WHERE epoch = base;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF metricsd_now() - made > fresh THEN
        RAISE EXCEPTION USING ERRCODE = 'MD001';
    END IF;
    DELETE FROM workers WHERE member = ANY (lost) AND expires <= clock_timestamp();
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone <> cardinality(lost) THEN
        RAISE EXCEPTION USING ERRCODE = 'MD001';
    END IF;
    -- Owners stay until this is committed.
    PERFORM FROM workers WHERE member = ANY (owners) FOR KEY SHARE;
    IF EXISTS (
        SELECT FROM unnest(buckets, owners) AS new (bucket, owner)
        LEFT JOIN workers w ON w.member = new.owner
        LEFT JOIN ring_grants g ON g.bucket = new.bucket
        WHERE w.member IS NULL OR (w.draining AND g.owner IS DISTINCT FROM new.owner)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'MD001';
    END IF;
    INSERT INTO ring_grants AS g (bucket, owner, epoch, since, previous, began, gap)
    SELECT new.bucket, new.owner, base + 1, new.since, new.previous, new.began, new.gap
    FROM unnest(buckets, owners, sinces, previouses, begans, gaps)
        AS new (bucket, owner, since, previous, began, gap)
    ON CONFLICT (bucket) DO UPDATE
    SET owner = excluded.owner, epoch = excluded.epoch, since = excluded.since, previous = excluded.previous,
        began = excluded.began, gap = excluded.gap;
    UPDATE workers SET placed = true WHERE member = ANY (seen) AND NOT placed;
    RETURN true;
EXCEPTION WHEN SQLSTATE 'MD001' THEN
    RETURN false;
END
$$;
