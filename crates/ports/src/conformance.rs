//! One suite a port: every adapter runs all of its checks. A check panics with what was expected.

pub mod cache;
pub mod catalog;
pub mod events;
pub mod outbox;
pub mod samples;
