INSERT INTO timelines (id, offsets) SELECT id, offsets FROM staged_timelines ORDER BY id ON CONFLICT DO NOTHING
