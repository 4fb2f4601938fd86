DELETE FROM series_rows WHERE id = ANY($1) RETURNING id
