//! Pages without a target that serves them: for benchmarks.

use std::sync::Arc;

use metricsd_codec::exposition::Format;
use metricsd_ingest::{Limits, SeriesTracker};
use metricsd_model::{Millis, TargetSpec};
use metricsd_ports::SampleSink;
use prometheus_client::metrics::gauge::Gauge;

use crate::client::ScrapeError;
use crate::naming::Namer;
use crate::page::PageReader;

/// Reads pages one after the other as a scrape of one target does, up to what would be stored.
pub struct PageTrial {
    namer: Namer,
    reader: PageReader,
    series: Arc<SeriesTracker>,
}

impl PageTrial {
    /// Of a target; `store` is asked which series are new where `limits` would refuse some.
    pub fn new(spec: TargetSpec, limits: Limits, store: Arc<dyn SampleSink>) -> Self {
        let series = SeriesTracker::new(limits.series(), store, Gauge::default());
        let namer = Namer::new(spec, Arc::new(limits));
        let reader = PageReader::new(&namer);
        Self { namer, reader, series }
    }

    /// Reads a page that was scraped at `at`, and answers how many of its samples would be stored.
    ///
    /// # Errors
    /// A page that a scrape would fail with. Where the store would have to be asked, 0 samples are stored.
    pub fn read(&mut self, page: &[u8], format: Format, at: Millis) -> Result<u64, ScrapeError> {
        let mut admission = self.series.admission(&self.namer.spec().source_id);
        let scraped = self.reader.read(page, format, &self.namer, at, &mut admission)?;
        Ok(scraped.map_or(0, |scraped| scraped.ledger.stored))
    }
}
