-- Names and owners that no series has, and the oldest transaction of those that may still give them one.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
       ARRAY(
           SELECT n.id FROM series_names n WHERE NOT EXISTS (SELECT FROM series_rows r WHERE r.name = n.id) LIMIT $1
       ),
       ARRAY(
           SELECT o.id FROM series_holders o WHERE NOT EXISTS (SELECT FROM series_rows r WHERE r.owner = o.id) LIMIT $1
       )
