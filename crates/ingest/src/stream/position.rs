//! Where a stream is: the last number that is committed, kept as a sample of the batch that committed it.

use std::sync::Arc;

use metricsd_codec::exposition::MetricKind;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_model::{METRIC_NAME, Matcher, Millis, is_stale};
use metricsd_ports::{SampleSource, SelectLimits, Selection};

use super::StreamError;

/// The gauge that holds positions, by `source_id` and `stream_id`.
pub const POSITION_METRIC: &str = "metricsd_stream_position";

/// How far back is looked, one after the other: a stream that writes has its position near.
const WINDOWS: [Millis; 4] = [600_000, 21_600_000, 3 * 86_400_000, 40 * 86_400_000];

/// How far ahead of the clock of this process another's may have been.
const AHEAD: Millis = 3_600_000;

/// Samples of one look.
const MAX_SAMPLES: usize = 20_000_000;

/// A stream's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Last number that is committed; 0: none.
    pub(super) last: u64,
    /// The time under which that is kept.
    pub(super) at: Millis,
}

/// Which stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StreamKey {
    pub(super) source_id: String,
    pub(super) stream_id: String,
}

impl StreamKey {
    /// Where the stream is, of all that was committed before the call.
    pub(super) async fn position(
        &self,
        source: &Arc<dyn SampleSource>,
        now: Millis,
    ) -> Result<Position, StreamError> {
        for start in WINDOWS.iter().map(|window| now - window).chain([0]) {
            let selection = Selection {
                matchers: vec![
                    Matcher::equal(METRIC_NAME, POSITION_METRIC),
                    Matcher::equal("source_id", &self.source_id),
                    Matcher::equal("stream_id", &self.stream_id),
                ],
                start,
                end: now + AHEAD,
                limits: SelectLimits { max_series: 10, max_samples: MAX_SAMPLES },
            };
            let mut found = Position::default();
            for series in source.select(&selection).await? {
                for (at, value) in series.timestamps.iter().zip(&series.values) {
                    found.at = found.at.max(*at);
                    if !is_stale(*value) && *value > found.last as f64 {
                        found.last = *value as u64;
                    }
                }
            }
            if found.last > 0 {
                return Ok(found);
            }
        }
        Ok(Position::default())
    }

    /// Says where the stream will be once this body is committed.
    pub(super) fn write(&self, position: Position, body: &mut BodyWriter) {
        body.metadata(
            MetricKind::Gauge,
            POSITION_METRIC,
            "Number of the last item of a stream that is committed.",
            "",
        );
        body.series()
            .label(METRIC_NAME, POSITION_METRIC)
            .label("source_id", &self.source_id)
            .label("stream_id", &self.stream_id)
            .sample(position.at, position.last as f64);
    }

    /// The key of the batch that begins behind a position.
    pub(super) fn batch_key(&self, before: u64) -> String {
        format!("stream {} {before}", self.stream_id)
    }
}
