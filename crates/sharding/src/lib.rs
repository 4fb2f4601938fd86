//! Who owns what: keys spread over members so that every process arrives at the same answer alone.
//!
//! Workers own buckets of targets. [`table`] says whose each is, and from which scheduled time on; [`mod@plan`] decides who shall own
//! what when workers come and go; [`registry`] is what the database does with leases and plans, as one piece of memory;
//! [`keeper`] is what a worker knows of its own lease, and so whether it may scrape. The protocol is told in
//! `docs/decisions/0017-workers-own-buckets-by-lease.md`, and `tests/simulation` runs it through thousands of schedules.
//!
//! [`hash`] is the hash that everything rests on; [`ring`] gives one key an owner, whatever other keys there are;
//! [`mod@assign`] gives all of a known set of keys their owners, evenly by what each costs. Pure: no clock, no randomness,
//! no floating point, so that processes built for different machines agree.
//!
//! | word | here |
//! |---|---|
//! | key | what is owned: a target's id, a source's id |
//! | member | who owns: a database, a worker; known by an id that stays |
//! | weight of a member | how much it takes beside the others: one of weight 2 takes twice what one of weight 1 takes |
//! | bucket | one of a fixed number of parts that targets are hashed into; a worker owns buckets, and with them their targets |
//! | slot | the time at which a scrape of a target is scheduled |
//! | load of a key | what it costs its owner, in any unit: samples a second, say |

pub mod hash;

pub mod ring;

pub mod assign;

pub mod table;

pub mod plan;

pub mod registry;

pub mod keeper;

pub use assign::{Assignment, DEFAULT_TOLERANCE, assign, reassign};
pub use hash::stable_hash;
pub use keeper::{Gap, Keeper};
pub use plan::{Plan, Policy, plan};
pub use registry::{Lease, Registry, Renewal, Report, Snapshot};
pub use ring::{Member, Ring, RingError};
pub use table::{BUCKETS, Grant, Table, bucket_of};
