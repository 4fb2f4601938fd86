COPY series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit)
FROM STDIN (FORMAT binary)
