//! What keeps a query within its bounds while it computes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metricsd_model::format_duration;

use crate::{QueryError, QueryErrorKind};

/// Bounds of one query, shared by all its threads.
#[derive(Debug)]
pub(crate) struct Control {
    cancelled: AtomicBool,
    deadline: Instant,
    timeout: Duration,
    held: AtomicUsize,
    peak: AtomicUsize,
    max_samples: usize,
    max_bytes: usize,
    bytes: AtomicUsize,
}

/// Bytes that a series takes beside its values, approximately.
const SERIES_BYTES: usize = 160;

impl Control {
    pub(crate) fn new(timeout: Duration, max_samples: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            cancelled: AtomicBool::new(false),
            deadline: Instant::now() + timeout,
            timeout,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            max_samples,
            max_bytes,
            bytes: AtomicUsize::new(0),
        })
    }

    /// Whether the query may go on.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::new(QueryErrorKind::Cancelled, "query was canceled"));
        }
        if Instant::now() >= self.deadline {
            return Err(self.timed_out());
        }
        Ok(())
    }

    pub(crate) fn timed_out(&self) -> QueryError {
        let limit = format_duration(self.timeout);
        QueryError::new(
            QueryErrorKind::Timeout,
            format!("query timed out: it took longer than {limit} (promql.timeout)"),
        )
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Takes room for series and their samples until the answer is dropped.
    pub(crate) fn hold(self: &Arc<Self>, series: usize, samples: usize) -> Result<Held, QueryError> {
        let bytes = series.saturating_mul(SERIES_BYTES).saturating_add(samples.saturating_mul(16));
        let held = Held { control: Arc::clone(self), samples, bytes };
        let samples = self.held.fetch_add(samples, Ordering::Relaxed).saturating_add(samples);
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.peak.fetch_max(samples, Ordering::Relaxed);
        if samples > self.max_samples {
            return Err(too_much(format!(
                "more than {} samples (limits.max_query_samples)",
                self.max_samples
            )));
        }
        if bytes > self.max_bytes {
            return Err(too_much(format!("more than {} bytes (promql.max_memory)", self.max_bytes)));
        }
        Ok(held)
    }

    pub(crate) fn peak_samples(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

fn too_much(what: String) -> QueryError {
    let message = format!(
        "query processing would load too many samples into memory: {what}; ask for fewer series, a shorter range or a \
         longer step"
    );
    QueryError::new(QueryErrorKind::Limit, message)
}

/// Room that is taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    control: Arc<Control>,
    samples: usize,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.control.held.fetch_sub(self.samples, Ordering::Relaxed);
        self.control.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Ends the query when the one who asked goes away.
pub(crate) struct CancelOnDrop(pub(crate) Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_stops_when_its_asker_goes_away_or_its_time_is_over() {
        let control = Control::new(Duration::from_secs(3_600), 10, 10_000);
        let asker = CancelOnDrop(Arc::clone(&control));
        assert!(control.check().is_ok());
        drop(asker);
        assert_eq!(control.check().unwrap_err().kind(), QueryErrorKind::Cancelled);
        let late = Control::new(Duration::ZERO, 10, 10_000);
        assert_eq!(late.check().unwrap_err().kind(), QueryErrorKind::Timeout);
    }

    #[test]
    fn room_is_given_back() {
        let control = Control::new(Duration::from_secs(3_600), 10, 10_000);
        let held = control.hold(1, 8).unwrap();
        assert_eq!(control.hold(1, 8).unwrap_err().kind(), QueryErrorKind::Limit);
        drop(held);
        assert!(control.hold(1, 8).is_ok());
        assert!(control.hold(70, 1).is_err(), "series take bytes too");
        assert_eq!(control.peak_samples(), 16);
    }
}
