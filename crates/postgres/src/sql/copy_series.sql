COPY series_rows (id, name, owner, labels) FROM STDIN (FORMAT binary)
