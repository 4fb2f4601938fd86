//! One suite a port: every adapter runs all of its checks. A check panics with what was expected.

/// Runs checks one after another, each on a fresh store.
macro_rules! each {
    ($new:expr, $($check:path),+ $(,)?) => {
        $(Box::pin($check(&$new().await)).await;)+
    };
}

/// The same for checks that hand the store to several tasks.
macro_rules! each_shared {
    ($new:expr, $($check:path),+ $(,)?) => {
        $(Box::pin($check(&std::sync::Arc::new($new().await))).await;)+
    };
}

use {each, each_shared};

pub mod cache;
pub mod catalog;
pub mod durable;
pub mod events;
pub mod fixtures;
pub mod membership;
pub mod outbox;
pub mod pushed;
pub mod rollups;
pub mod samples;
pub mod work;
