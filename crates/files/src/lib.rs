//! Files of samples: CSV, NDJSON, OpenMetrics and Parquet, read and written.
