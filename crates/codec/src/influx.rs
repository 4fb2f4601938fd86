//! Influx line protocol: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.
//!
//! [`LineParser`] cuts a body into lines where it lies: names and values stay slices of it until [`Mapping`] makes series
//! of them. A line that does not read is an error of that line alone.
//!
//! As the protocol has it: `\` escapes `,`, `=` and blanks in names and tags, `\"` and `\\` stand in quoted texts, which may
//! hold line feeds; numbers are floats, `1i` and `1u`; `t`, `true`, `f` and `false` are booleans. Between fields and
//! timestamp any number of blanks is taken, and a tag without a value is no label.

mod mapping;
mod scan;

pub use mapping::{Mapped, Mapping, Precision, TooLarge};
pub use scan::{FieldValue, Line, LineError, LineParser, Text};

#[cfg(test)]
mod tests;
