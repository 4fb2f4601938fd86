//! Scraping: which targets there are, when each is due, and what became of its page.

pub mod guard;

pub use guard::AddressPolicy;
