//! `GET /api/v1/metrics/cardinality`: how many series there are, whose they are, and what grows.

mod growth;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{RawQuery, State};
use metricsd_ingest::tracker::ACTIVE_WINDOW;
use metricsd_ingest::{SeriesLimits, SeriesTracker, SourceSeries};
use metricsd_ports::{IndexStatistics, PortError, SampleSource};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Problem;
use crate::api::AppState;
use crate::params::Params;
use crate::targets::check_source_id;
use growth::{Growth, GrowthReport};

/// The index is asked at most this often, however many ask.
const FRESH: Duration = Duration::from_secs(5);

/// Entries of each list where none are asked for, and at most.
const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1_000;

/// What the report is made of, and what is remembered for it.
pub struct Cardinality {
    source: Arc<dyn SampleSource>,
    /// Where this process takes samples.
    series: Option<Arc<SeriesTracker>>,
    /// The last answer of the index, with the source that it was about. The lock also keeps many askers from asking the
    /// same at once.
    last: Mutex<Option<(Instant, Option<String>, Arc<IndexStatistics>)>>,
    growth: Growth,
}

impl Cardinality {
    /// A report over what is stored, and over what `series` knows of this process.
    pub fn new(source: Arc<dyn SampleSource>, series: Option<Arc<SeriesTracker>>) -> Self {
        Self { source, series, last: Mutex::new(None), growth: Growth::default() }
    }

    /// Notes every now and then how many series each name has, so that growth can be told, until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.source.index_statistics(MAX_LIMIT).await {
                Ok(statistics) => self.growth.note(&statistics, Instant::now()),
                Err(error) => tracing::debug!(error = error.chain(), "the index of series cannot be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(growth::EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn statistics(&self, source_id: Option<&str>) -> Result<Arc<IndexStatistics>, PortError> {
        let mut last = self.last.lock().await;
        if let Some((at, about, statistics)) = last.as_ref()
            && about.as_deref() == source_id
            && at.elapsed() < FRESH
        {
            return Ok(statistics.clone());
        }
        let asked = match source_id {
            Some(source_id) => self.source.source_statistics(source_id, MAX_LIMIT).await,
            None => self.source.index_statistics(MAX_LIMIT).await,
        };
        let statistics = Arc::new(asked?);
        *last = Some((Instant::now(), source_id.map(str::to_owned), statistics.clone()));
        Ok(statistics)
    }

    async fn report(&self, source_id: Option<&str>, limit: usize) -> Result<Report, PortError> {
        let found = self.statistics(source_id).await?;
        let tracked = self.series.as_ref().map(|series| series.by_source(source_id, usize::MAX));
        let growth = match source_id {
            None => {
                self.growth.begin(&found, Instant::now());
                self.growth.report(&found, limit, Instant::now())
            }
            Some(_) => None,
        };
        Ok(Report {
            series: found.series,
            label_pairs: found.label_pairs,
            active_series: tracked.as_ref().map(|sources| sources.iter().map(|source| source.active).sum()),
            active_window_seconds: ACTIVE_WINDOW.as_secs(),
            limits: self.series.as_ref().map_or_else(LimitsInForce::default, |series| series.limits().into()),
            by_metric: rows(&found.series_by_metric, limit, |(metric, series)| MetricRow { metric, series }),
            by_label: rows(&found.values_by_label, limit, |(label, values)| LabelRow { label, values }),
            by_label_pair: rows(&found.series_by_pair, limit, |(pair, series)| PairRow::new(pair, series)),
            by_source: sources(&found, tracked, limit),
            growth,
        })
    }
}

#[derive(Serialize)]
struct Report {
    series: usize,
    label_pairs: usize,
    active_series: Option<u64>,
    active_window_seconds: u64,
    limits: LimitsInForce,
    by_metric: Vec<MetricRow>,
    by_label: Vec<LabelRow>,
    by_label_pair: Vec<PairRow>,
    by_source: Vec<SourceRow>,
    growth: Option<GrowthReport>,
}

/// Zero: none.
#[derive(Serialize, Default)]
struct LimitsInForce {
    max_active_series_per_source: usize,
    max_new_series_per_minute_per_source: usize,
}

impl From<SeriesLimits> for LimitsInForce {
    fn from(limits: SeriesLimits) -> Self {
        Self {
            max_active_series_per_source: limits.max_active,
            max_new_series_per_minute_per_source: limits.max_new_per_minute,
        }
    }
}

#[derive(Serialize)]
struct MetricRow {
    metric: String,
    series: usize,
}

#[derive(Serialize)]
struct LabelRow {
    label: String,
    values: usize,
}

#[derive(Serialize)]
struct PairRow {
    label: String,
    value: String,
    series: usize,
}

impl PairRow {
    fn new(pair: String, series: usize) -> Self {
        // Names of labels that hold an equals sign are beyond telling.
        let (label, value) = pair.split_once('=').unwrap_or((&pair, ""));
        Self { label: label.to_owned(), value: value.to_owned(), series }
    }
}

#[derive(Serialize)]
struct SourceRow {
    source_id: String,
    series: usize,
    #[serde(flatten)]
    here: Option<Here>,
}

/// What this process knows of a source.
#[derive(Serialize)]
struct Here {
    active_series: u64,
    new_series_last_minute: u64,
    new_series_last_hour: u64,
    refused_samples: RefusedSamples,
}

#[derive(Serialize)]
struct RefusedSamples {
    series_limit: u64,
    series_rate_limit: u64,
}

impl From<SourceSeries> for Here {
    fn from(found: SourceSeries) -> Self {
        Self {
            active_series: found.active,
            new_series_last_minute: found.new_last_minute,
            new_series_last_hour: found.new_last_hour,
            refused_samples: RefusedSamples {
                series_limit: found.refused_active,
                series_rate_limit: found.refused_new,
            },
        }
    }
}

fn rows<R>(entries: &[(String, usize)], limit: usize, row: impl Fn((String, usize)) -> R) -> Vec<R> {
    entries.iter().take(limit).cloned().map(row).collect()
}

/// Sources with what is stored of them and what this process knows, most active first, then most stored.
fn sources(stored: &IndexStatistics, tracked: Option<Vec<SourceSeries>>, limit: usize) -> Vec<SourceRow> {
    let tracks = tracked.is_some();
    let mut counts: HashMap<&str, usize> =
        stored.series_by_source.iter().map(|(id, series)| (id.as_str(), *series)).collect();
    let mut rows: Vec<SourceRow> = tracked
        .into_iter()
        .flatten()
        .map(|found| SourceRow {
            series: counts.remove(found.source_id.as_str()).unwrap_or_default(),
            source_id: found.source_id.clone(),
            here: Some(found.into()),
        })
        .collect();
    rows.extend(counts.into_iter().map(|(id, series)| SourceRow {
        source_id: id.to_owned(),
        series,
        here: tracks.then(|| SourceSeries::default().into()),
    }));
    let active = |row: &SourceRow| row.here.as_ref().map_or(0, |here| here.active_series);
    rows.sort_by(|a, b| {
        let by_number = (active(b), b.series).cmp(&(active(a), a.series));
        by_number.then_with(|| a.source_id.cmp(&b.source_id))
    });
    rows.truncate(limit);
    rows
}

/// The handler.
pub(crate) async fn cardinality(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<impl Serialize>, Problem> {
    let mut params = Params::new(query.as_deref());
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT);
    let source_id = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
    params.finish()?;
    Ok(Json(shared.api.cardinality.report(source_id.as_deref(), limit).await?))
}
