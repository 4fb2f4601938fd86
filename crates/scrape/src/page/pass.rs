//! What one pass over a page gathers.

use std::collections::HashSet;
use std::sync::Arc;

use metricsd_ingest::builder::plain_float;
use metricsd_ingest::validate::check_timestamp;
use metricsd_model::{
    Exemplar, FamilyMetadata, HISTOGRAM_MARKER_BITS, LabelSet, Ledger, Millis, NativeHistogram, ResetHint,
    SampleValue, Series, SeriesExemplar, SeriesId,
};
use xxhash_rust::xxh3::Xxh3;

use super::item::{Example, Item};
use crate::client::ScrapeError;
use crate::naming::{LineFault, Namer};

/// A sample with a timestamp of its own.
pub(crate) type Timed = (Arc<Series>, Millis, SampleValue);

/// Samples, and what stands beside them.
#[derive(Default)]
pub(super) struct Pass {
    /// One a column.
    pub(super) values: Vec<f64>,
    /// Native histograms, by column.
    pub(super) histograms: Vec<(u32, NativeHistogram)>,
    pub(super) timed: Vec<Timed>,
    pub(super) ledger: Ledger,
    pub(super) offenders: Arc<[String]>,
    /// Why nothing of the page is stored, where that is so.
    pub(super) failure: Option<ScrapeError>,
    /// Whether the page stops to read somewhere: the pass ends there.
    pub(super) incomplete: bool,
    /// Exemplars that the page before did not have.
    pub(super) exemplars: Vec<SeriesExemplar>,
    /// All exemplars, in short.
    pub(super) told: HashSet<u64>,
    /// When series began, where that is to be stored.
    pub(super) starts: Vec<Start>,
    /// What the page says of families that their series cannot say.
    pub(super) families: Vec<FamilyMetadata>,
}

/// When what a sample counts began.
pub(super) struct Start {
    pub(super) series: Arc<Series>,
    pub(super) created: Millis,
    /// When the sample was taken.
    pub(super) sampled: Millis,
    /// What was counted then: nothing.
    pub(super) nothing: SampleValue,
}

/// When and of whom a page is read.
#[derive(Clone, Copy)]
pub(super) struct Scene<'r> {
    pub(super) namer: &'r Namer,
    pub(super) at: Millis,
    /// The exemplars of the page before, in short.
    pub(super) told: &'r HashSet<u64>,
}

impl Scene<'_> {
    /// The timestamp that a sample brings, where it counts.
    #[inline]
    pub(super) fn honored(&self, timestamp: Option<Millis>) -> Option<Millis> {
        timestamp.filter(|_| self.namer.spec().scrape_config.honor_timestamps)
    }
}

impl Pass {
    /// A sample of the next column.
    ///
    /// # Errors
    /// A histogram that cannot be stored.
    #[inline]
    pub(super) fn column(
        &mut self,
        scene: Scene<'_>,
        series: &Arc<Series>,
        item: Item<'_>,
    ) -> Result<(), LineFault> {
        if item.is_plain() {
            self.values.push(plain_float(item.value));
            return Ok(());
        }
        self.rich_column(scene, series, item)
    }

    #[cold]
    fn rich_column(
        &mut self,
        scene: Scene<'_>,
        series: &Arc<Series>,
        mut item: Item<'_>,
    ) -> Result<(), LineFault> {
        self.note(scene, series, &item, scene.at);
        match item.native.take() {
            None => self.values.push(plain_float(item.value)),
            Some(native) => {
                let histogram = (*native)?;
                self.histograms.push((self.values.len() as u32, histogram));
                self.values.push(f64::from_bits(HISTOGRAM_MARKER_BITS));
            }
        }
        Ok(())
    }

    /// A sample that brings its timestamp; one too old or too new is counted as refused.
    ///
    /// # Errors
    /// A histogram that cannot be stored.
    pub(super) fn timed(
        &mut self,
        scene: Scene<'_>,
        series: &Arc<Series>,
        timestamp: Millis,
        mut item: Item<'_>,
    ) -> Result<(), LineFault> {
        if let Err(fault) = check_timestamp(timestamp, scene.at, scene.namer.limits()) {
            self.ledger.refuse(fault.reason);
            return Ok(());
        }
        self.note(scene, series, &item, timestamp);
        let value = match item.native.take() {
            None => SampleValue::Float(item.value),
            Some(native) => SampleValue::Histogram(Box::new((*native)?)),
        };
        self.timed.push((series.clone(), timestamp, value));
        Ok(())
    }

    /// Takes what stands beside a sample.
    fn note(&mut self, scene: Scene<'_>, series: &Arc<Series>, item: &Item<'_>, sampled: Millis) {
        for example in &item.examples {
            self.example(scene, series, example, sampled);
        }
        let Some(created) = item.created else { return };
        let nothing = match item.native.as_deref() {
            None => SampleValue::Float(0.0),
            Some(Ok(histogram)) => SampleValue::Histogram(Box::new(nothing_yet(histogram))),
            Some(Err(_)) => return,
        };
        self.starts.push(Start { series: series.clone(), created, sampled, nothing });
    }

    /// Keeps an exemplar that the page before did not have.
    fn example(&mut self, scene: Scene<'_>, series: &Arc<Series>, example: &Example<'_>, sampled: Millis) {
        let (value, timestamp) = example.observed();
        let name = name_of(series.id, example.raw(), value, timestamp);
        if !self.told.insert(name) || scene.told.contains(&name) {
            return;
        }
        let timestamp = timestamp.unwrap_or(sampled);
        if check_timestamp(timestamp, scene.at, scene.namer.limits()).is_err() {
            return;
        }
        let Some(labels) = example.labels() else { return };
        let pairs = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let Ok(labels) = LabelSet::new(pairs) else { return };
        let exemplar = Exemplar { labels, value, timestamp };
        self.exemplars.push(SeriesExemplar { series: series.clone(), exemplar });
    }
}

fn name_of(series: SeriesId, labels: &[u8], value: f64, timestamp: Option<Millis>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&series.0.to_le_bytes());
    hash.update(&value.to_bits().to_le_bytes());
    hash.update(&timestamp.unwrap_or(Millis::MIN).to_le_bytes());
    hash.update(labels);
    hash.digest()
}

/// A histogram of the same buckets that has counted nothing, after a reset.
fn nothing_yet(histogram: &NativeHistogram) -> NativeHistogram {
    NativeHistogram {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        custom_values: histogram.custom_values.clone(),
        reset_hint: ResetHint::Yes,
        ..NativeHistogram::default()
    }
}
