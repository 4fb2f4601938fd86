//! Prometheus text 0.0.4 and OpenMetrics 1.0 text, read line by line without copying.
//!
//! A page is read in one pass: [`Parser::next_entry`] checks a line's whole syntax and cuts it into slices of the
//! page. Labels are not taken apart there: the raw text of a series is the key under which the caller finds the
//! series that it knows already, and [`parse_series`] is for those that it does not.
//!
//! Where the formats leave room we do as Prometheus 3 does: unknown escapes stay as they are, metadata after samples
//! and repeated metadata are no errors, hexadecimal floats are.

mod number;
mod scan;

mod entry;
mod format;
mod meta;
mod parser;
mod series;
mod tail;

mod families;

pub use entry::{Entry, Exemplar, MetricKind, ParseError, SampleLine, unescape_help};
pub use families::{Families, FamilyInfo, OPEN_METRICS};
pub use format::Format;
pub use number::{normal_bound, open_metrics_float};
pub use parser::Parser;
pub use series::{Label, SeriesError, SeriesText, parse_series};
pub use tail::{Tail, read_tail};

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
