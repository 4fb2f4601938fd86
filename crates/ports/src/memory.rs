//! In-memory twins of the ports: real implementations without durability, for one process and for tests.

pub mod bus;
pub mod cache;
pub mod store;

pub use bus::MemoryBus;
pub use cache::MemoryCache;
pub use store::MemoryStore;
