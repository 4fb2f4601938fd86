//! Who owns what: keys spread over members so that every process arrives at the same answer alone.
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
//! | load of a key | what it costs its owner, in any unit: samples a second, say |

pub mod hash;

pub mod ring;

pub mod assign;

pub use assign::{Assignment, DEFAULT_TOLERANCE, assign};
pub use hash::stable_hash;
pub use ring::{Member, Ring, RingError};
