//! The delimited protobuf format: a sequence of `io.prometheus.client.MetricFamily`, each behind its length.
//!
//! [`FamilyReader`] walks a page where it lies: names and labels are slices of it, and only native histograms are built.
//! [`Metric::visit`] makes of each metric the samples that Prometheus makes of it: a summary's quantiles, sum and count, a
//! classic histogram's buckets, a native histogram. What does not read is an error that names the family and the byte;
//! what would take memory is bounded by the page. [`message`] has the same messages as values, for whoever writes them.

mod exemplar;
mod histogram;
mod key;
pub mod message;
mod read;
mod samples;

pub use exemplar::FamilyExemplar;
pub use key::{escape, write_key, write_series};
pub use read::{Family, FamilyError, FamilyReader, Metric, Metrics};
pub use samples::{FamilySample, Histograms, Role};

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
