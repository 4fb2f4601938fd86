//! The series that every scrape adds about itself, as Prometheus names them.

/// Those that are always there.
const BASIC: usize = 5;

/// Name and help, in the order of their columns; the last three by `extra_scrape_metrics`.
pub(crate) const REPORTS: [(&str, &str); 8] = [
    ("up", "1 where the target could be scraped, 0 where it could not"),
    ("scrape_duration_seconds", "How long the scrape took"),
    ("scrape_samples_scraped", "Samples that the target exposed"),
    ("scrape_samples_post_metric_relabeling", "Samples left after filters and relabelling"),
    ("scrape_series_added", "Series that the scrape before did not have, approximately"),
    ("scrape_timeout_seconds", "How long a scrape may take"),
    ("scrape_sample_limit", "How many samples the target may expose; 0 is any number"),
    (
        "scrape_body_size_bytes",
        "Size of the page, decompressed; -1 where it was beyond its limit, 0 where there was none",
    ),
];

/// The reports of a target.
pub(crate) fn reports(extra: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    REPORTS.into_iter().take(if extra { REPORTS.len() } else { BASIC })
}

/// The values of [`REPORTS`].
pub(crate) struct Report {
    pub(crate) up: bool,
    pub(crate) seconds: f64,
    pub(crate) scraped: u64,
    pub(crate) kept: u64,
    pub(crate) added: u64,
    pub(crate) timeout_seconds: f64,
    pub(crate) sample_limit: u64,
    pub(crate) body_bytes: i64,
}

impl Report {
    pub(crate) fn values(&self) -> [f64; 8] {
        [
            f64::from(u8::from(self.up)),
            self.seconds,
            self.scraped as f64,
            self.kept as f64,
            self.added as f64,
            self.timeout_seconds,
            self.sample_limit as f64,
            self.body_bytes as f64,
        ]
    }
}
