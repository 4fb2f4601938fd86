//! The Graphite listener.

use std::sync::Arc;

use metricsd_codec::graphite::{GraphiteLine, Mapping};
use metricsd_codec::remote_write::BodyWriter;
use metricsd_ingest::{Ingest, Protocol, WriteOrigin};
use tokio_util::sync::CancellationToken;

use crate::joiner::{Joiner, Part};
use crate::lines::{LineSink, for_each};
use crate::metrics::{Counted, Dropped};
use crate::start::{self, ListenError, Listening};
use crate::{ListenLimits, ListenerMetrics, now};

/// Who writes, in the catalogue's words.
const SOURCE: &str = "graphite";

/// How Graphite is listened to.
#[derive(Debug, Clone)]
pub struct GraphiteOptions {
    /// `host:port`, for TCP and UDP alike.
    pub listen: String,
    /// Bounds.
    pub limits: ListenLimits,
    /// How lines become series.
    pub mapping: Mapping,
}

/// Listens until told to stop, then stores what was heard.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(
    options: GraphiteOptions,
    ingest: Ingest,
    metrics: &ListenerMetrics,
    stop: CancellationToken,
) -> Result<Listening, ListenError> {
    let sockets = start::bind(&options.listen).await?;
    let counted = metrics.of(SOURCE);
    let origin = WriteOrigin::new(SOURCE, Protocol::Graphite);
    let (joiner, writer) = Joiner::new(ingest, origin, counted.clone());
    let max_line = options.limits.max_line_bytes;
    let sink = Arc::new(Graphite { mapping: options.mapping, joiner, counted: counted.clone(), max_line });
    let address = sockets.address;
    let heard = start::serve(sockets, sink, options.limits, counted, stop);
    // The writer ends when the last listener has let go of the sink.
    let task = tokio::spawn(async move {
        tokio::join!(heard, writer);
    });
    Ok(Listening { address, task })
}

struct Graphite {
    mapping: Mapping,
    joiner: Joiner,
    counted: Counted,
    max_line: usize,
}

impl LineSink for Graphite {
    async fn take(&self, lines: &[u8], patient: bool) {
        let part = self.read(lines);
        if part.lines > 0 {
            self.joiner.put(part, patient).await;
        }
    }
}

impl Graphite {
    fn read(&self, bytes: &[u8]) -> Part {
        let (mut body, mut taken, received_at) = (BodyWriter::new(), 0, now());
        for_each(bytes, self.max_line, &self.counted, |line| match GraphiteLine::parse(line) {
            Ok(line) if self.mapping.write(&line, received_at, &mut body) => taken += 1,
            Ok(_) => self.counted.dropped(Dropped::Rule, 1),
            Err(_) => self.counted.dropped(Dropped::Malformed, 1),
        });
        Part { body: body.into_bytes(), lines: taken }
    }
}
