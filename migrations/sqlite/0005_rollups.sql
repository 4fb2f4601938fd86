-- Rolled-up values: what is left of samples in spans of five minutes and of an hour.

-- Days (UTC) that are rolled up, or being so. state: 0 begun, 1 whole, 2 whole and final, since samples of it are gone.
-- minutes and hours: the values of that length can be used.
CREATE TABLE rolled_days (
    day     INTEGER PRIMARY KEY,
    state   INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
    minutes INTEGER NOT NULL DEFAULT 0 CHECK (minutes IN (0, 1)),
    hours   INTEGER NOT NULL DEFAULT 0 CHECK (hours IN (0, 1))
);

-- One row a series and day for each length of spans (milliseconds); spans are columns as metricsd_store::rollup packs
-- them, absent where native histograms are among the samples.
CREATE TABLE rollups (
    step   INTEGER NOT NULL,
    day    INTEGER NOT NULL,
    series INTEGER NOT NULL,
    spans  BLOB,
    PRIMARY KEY (step, day, series)
) WITHOUT ROWID;
