-- Takes the series of an origin out of the rows of an hour; answers how many.
WITH counted AS (
    SELECT count(*) AS series
    FROM segments_constant g
    CROSS JOIN LATERAL unnest(g.origins) AS m (origin)
    WHERE g.time = $1 AND m.origin = $2
), whole AS (
    DELETE FROM segments_constant g WHERE g.time = $1 AND $2 = ALL (g.origins)
), parts AS (
    UPDATE segments_constant g
    SET (series, level, origins, timelines) = (
        SELECT array_agg(m.series ORDER BY m.place), array_agg(m.level ORDER BY m.place),
               array_agg(m.origin ORDER BY m.place), array_agg(m.timeline ORDER BY m.place)
        FROM unnest(g.series, g.level, g.origins, g.timelines) WITH ORDINALITY
            AS m (series, level, origin, timeline, place)
        WHERE m.origin <> $2
    )
    WHERE g.time = $1 AND $2 = ANY (g.origins) AND NOT $2 = ALL (g.origins)
)
SELECT series FROM counted
