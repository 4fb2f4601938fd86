//! Who scrapes what: kept in memory, since one process has the file to itself.

metricsd_ports::delegate_membership!(crate::SqliteStore, members);
