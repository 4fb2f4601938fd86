SELECT count(*) FROM drop_chunks('frames', older_than => $1::timestamptz)
