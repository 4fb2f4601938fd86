//! Samples, catalogue and outbox of one process.
