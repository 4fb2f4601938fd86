//! The caches of one process, bounded in entries, with a lifetime for each.
