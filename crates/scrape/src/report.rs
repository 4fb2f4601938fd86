//! The five series that every scrape adds about itself, as Prometheus names them.

/// Name and help, in the order of their columns.
pub(crate) const REPORTS: [(&str, &str); 5] = [
    ("up", "1 where the target could be scraped, 0 where it could not"),
    ("scrape_duration_seconds", "How long the scrape took"),
    ("scrape_samples_scraped", "Samples that the target exposed"),
    ("scrape_samples_post_metric_relabeling", "Samples left after filters"),
    ("scrape_series_added", "Series that the scrape before did not have, approximately"),
];

/// The values of [`REPORTS`].
pub(crate) struct Report {
    pub(crate) up: bool,
    pub(crate) seconds: f64,
    pub(crate) scraped: u64,
    pub(crate) kept: u64,
    pub(crate) added: u64,
}

impl Report {
    pub(crate) fn values(&self) -> [f64; 5] {
        [f64::from(u8::from(self.up)), self.seconds, self.scraped as f64, self.kept as f64, self.added as f64]
    }
}
