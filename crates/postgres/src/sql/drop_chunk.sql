SELECT count(*) FROM drop_chunks($1::text::regclass, older_than => $3::timestamptz, newer_than => $2::timestamptz)
