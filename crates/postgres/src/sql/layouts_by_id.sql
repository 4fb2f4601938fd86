SELECT id, series FROM layouts WHERE id = ANY($1)
