-- Takes the series of some origins out of the rows of an hour; answers how many. A series stands in one row of an hour, so the
-- first of a row tells which it is.
WITH met AS MATERIALIZED (
    SELECT g.key, g.series[1] AS first, count(*) AS series, count(*) FILTER (WHERE m.origin = ANY ($2)) AS gone
    FROM segments_constant g
    CROSS JOIN LATERAL unnest(g.origins) AS m (origin)
    WHERE g.time = $1
    GROUP BY g.key, g.series[1]
    HAVING count(*) FILTER (WHERE m.origin = ANY ($2)) > 0
), whole AS (
    DELETE FROM segments_constant g
    USING met
    WHERE met.gone = met.series AND g.time = $1 AND g.key = met.key AND g.series[1] = met.first
), parts AS (
    UPDATE segments_constant g
    SET (series, level, origins, timelines) = (
        SELECT array_agg(m.series ORDER BY m.place), array_agg(m.level ORDER BY m.place),
               array_agg(m.origin ORDER BY m.place), array_agg(m.timeline ORDER BY m.place)
        FROM unnest(g.series, g.level, g.origins, g.timelines) WITH ORDINALITY
            AS m (series, level, origin, timeline, place)
        WHERE m.origin <> ALL ($2)
    )
    FROM met
    WHERE met.gone < met.series AND g.time = $1 AND g.key = met.key AND g.series[1] = met.first
)
SELECT coalesce(sum(gone), 0)::int8 FROM met
