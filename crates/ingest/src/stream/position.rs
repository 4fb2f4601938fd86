//! Where a stream is: the last number that is committed, kept as a sample of the batch that committed it.

use std::sync::Arc;

use metricsd_codec::exposition::MetricKind;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_model::{METRIC_NAME, Matcher, Millis, is_stale};
use metricsd_ports::{SampleSource, SelectLimits, Selection};

use super::StreamError;

/// The gauge that holds positions, by `source_id` and `stream_id`.
pub const POSITION_METRIC: &str = "metricsd_stream_position";

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

/// How far back is looked at first: a stream that writes has its position near.
const NEAR: [Millis; 2] = [10 * MINUTE, 6 * HOUR];

/// Then a day at a time, up to this many.
const DAYS: Millis = 40;

/// Then ten days at a time, up to this many tens.
const TENS: Millis = 400;

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

/// Where is looked, the newest first. None holds what another does: a busy stream leaves more than a million positions a day.
fn windows(now: Millis) -> impl Iterator<Item = (Millis, Millis)> {
    let days = (1..=DAYS).map(|days| days * DAY);
    let tens = (1..=TENS).map(|tens| (DAYS + tens * 10) * DAY);
    let mut end = now + AHEAD;
    NEAR.into_iter().chain(days).chain(tens).map(move |back| {
        let start = now - back;
        let window = (start, end);
        end = start - 1;
        window
    })
}

/// The last position of a selection: numbers and times of a stream grow together.
async fn newest(source: &Arc<dyn SampleSource>, selection: &Selection) -> Result<Position, StreamError> {
    let mut found = Position::default();
    for series in source.select(selection).await? {
        for (at, value) in series.timestamps.iter().zip(&series.values) {
            found.at = found.at.max(*at);
            if !is_stale(*value) && *value > found.last as f64 {
                found.last = *value as u64;
            }
        }
    }
    Ok(found)
}

impl StreamKey {
    /// Where the stream is, of all that was committed before the call.
    pub(super) async fn position(
        &self,
        source: &Arc<dyn SampleSource>,
        now: Millis,
    ) -> Result<Position, StreamError> {
        let matchers = vec![
            Matcher::equal(METRIC_NAME, POSITION_METRIC),
            Matcher::equal("source_id", &self.source_id),
            Matcher::equal("stream_id", &self.stream_id),
        ];
        for (place, (start, end)) in windows(now).enumerate() {
            // What is older is in the index: of a stream that is new there is nothing to look for.
            if place == NEAR.len() && source.label_sets(&matchers, 1).await?.is_empty() {
                break;
            }
            let limits = SelectLimits { max_series: 10, max_samples: MAX_SAMPLES };
            let found = newest(source, &Selection { matchers: matchers.clone(), start, end, limits }).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_looked_at_once_and_at_most_a_day_of_the_last_weeks_at_a_time() {
        let now = 1_790_000_000_000;
        let all: Vec<_> = windows(now).collect();
        assert_eq!(all[0], (now - 600_000, now + AHEAD));
        for pair in all.windows(2) {
            assert_eq!(pair[1].1, pair[0].0 - 1, "one ends where the next begins");
        }
        for (start, end) in all.iter().take(2 + 40) {
            assert!(end - start <= DAY, "{start} {end}");
        }
        assert_eq!(all[41].0, now - 40 * DAY);
        assert!(all.iter().all(|(start, end)| end - start <= 10 * DAY));
    }
}
