-- What frames say of their series are numbers since 0018_numbers.sql. Under names of their own: a process of before, which still
-- has the file open, would go on writing ids, and acknowledge samples that nobody could read.
ALTER TABLE frames RENAME COLUMN layout TO layout_number;
ALTER TABLE frames RENAME COLUMN series_ids TO series_numbers;
