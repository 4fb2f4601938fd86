WITH given AS (
    UPDATE last_removal SET number = number + cardinality($2::int8[]) RETURNING number - cardinality($2::int8[]) AS before
)
INSERT INTO removals (number, layout, id)
SELECT given.before + new.place, $1, new.id
FROM given, unnest($2::int8[]) WITH ORDINALITY AS new (id, place)
