//! The event bus of one process: a bounded broadcast channel.
