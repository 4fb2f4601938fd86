-- Ids that stand for other timestamps: they are hashes.
SELECT s.id FROM staged_timelines s JOIN timelines t ON t.id = s.id WHERE t.offsets <> s.offsets
