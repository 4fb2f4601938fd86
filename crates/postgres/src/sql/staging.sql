-- Rows pass through these tables on their way to segments. The server compresses arrays only in rows past 2 kB, and an
-- hour of a series is somewhat less: the filling makes every row long enough, and rows that move on keep their
-- compressed arrays and leave the filling behind.
CREATE TEMP TABLE staged_segments (
    LIKE segments INCLUDING COMPRESSION,
    daily   boolean NOT NULL,
    samples integer NOT NULL,
    packed  bytea,
    filling bytea NOT NULL DEFAULT decode(repeat('00', 2100), 'hex')
) ON COMMIT DELETE ROWS;
ALTER TABLE staged_segments
    SET (toast_tuple_target = 128),
    ALTER COLUMN "values" DROP NOT NULL,
    ALTER COLUMN offsets SET STORAGE MAIN,
    ALTER COLUMN "values" SET STORAGE MAIN,
    ALTER COLUMN low1 SET STORAGE MAIN,
    ALTER COLUMN low2 SET STORAGE MAIN,
    ALTER COLUMN low4 SET STORAGE MAIN,
    ALTER COLUMN high SET STORAGE MAIN,
    ALTER COLUMN histograms SET STORAGE MAIN,
    ALTER COLUMN packed SET STORAGE EXTERNAL,
    ALTER COLUMN filling SET STORAGE MAIN;
CREATE TEMP TABLE staged_timelines (
    LIKE timelines INCLUDING COMPRESSION,
    filling bytea NOT NULL DEFAULT decode(repeat('00', 2100), 'hex')
) ON COMMIT DELETE ROWS;
ALTER TABLE staged_timelines
    SET (toast_tuple_target = 128),
    ALTER COLUMN offsets SET STORAGE MAIN,
    ALTER COLUMN filling SET STORAGE MAIN;
CREATE TEMP TABLE staged_constants (
    LIKE segments_constant INCLUDING COMPRESSION,
    filling bytea NOT NULL DEFAULT decode(repeat('00', 2100), 'hex')
) ON COMMIT DELETE ROWS;
ALTER TABLE staged_constants
    SET (toast_tuple_target = 128),
    ALTER COLUMN series SET STORAGE MAIN,
    ALTER COLUMN level SET STORAGE MAIN,
    ALTER COLUMN origins SET STORAGE MAIN,
    ALTER COLUMN timelines SET STORAGE MAIN,
    ALTER COLUMN filling SET STORAGE MAIN;
