SELECT id, offsets FROM timelines WHERE id = ANY($1)
