//! What OpenTelemetry pushes, over HTTP and gRPC alike: converted, written through the one door, and answered in data
//! points, which is what its senders count.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use metricsd_codec::otlp::{
    Converted, OtlpError, OtlpOptions, Request, StreamLimits, Streams, convert, protobuf_of_json,
};
use metricsd_model::{Millis, Refusal};
use parking_lot::Mutex;

use crate::validate::accepted_times;
use crate::{
    Ingest, IngestError, OwnedWrite, PreparedWrite, Protocol, WriteError, WriteFailure, WriteOrigin, Written,
};

/// Bodies above this are read on a thread of their own, so that they do not hold up others.
const LARGE: usize = 32 << 10;

/// Refused data points that an answer describes; all are counted.
const MAX_FAULTS: usize = 10;

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpForm {
    /// `application/x-protobuf`, and gRPC.
    Protobuf,
    /// `application/json`.
    Json,
}

/// One request.
#[derive(Debug, Clone)]
pub struct OtlpExport {
    /// Who sends it.
    pub origin: WriteOrigin,
    /// How it is written.
    pub form: OtlpForm,
    /// The body, unpacked.
    pub body: Bytes,
    /// Arrival.
    pub received_at: Millis,
}

/// Why nothing of a request was stored.
#[derive(Debug, thiserror::Error)]
pub enum OtlpFailure {
    /// It does not read: sending it again cannot help.
    #[error("{0}")]
    Malformed(String),
    /// It holds more than one request may: sending it again cannot help, sending it in parts can.
    #[error("{0}")]
    TooLarge(String),
    /// We are at fault: sending it again may help.
    #[error(transparent)]
    Failed(#[from] IngestError),
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtlpOutcome {
    /// Data points that it held.
    pub points: u64,
    /// Data points of which not everything was stored.
    pub rejected: u64,
    /// Why, or a warning; empty where all is well.
    pub message: String,
}

/// A request that was read, and is not stored yet.
#[derive(Debug)]
pub struct PreparedExport {
    prepared: PreparedWrite,
    converted: Converted,
}

/// Takes what OpenTelemetry pushes. A cheap handle: HTTP and gRPC share what it remembers of streams.
#[derive(Clone)]
pub struct OtlpDoor(Arc<Inner>);

struct Inner {
    ingest: Ingest,
    options: OtlpOptions,
    /// Present where deltas are added up or begins are marked. Requests are converted one after the other then.
    streams: Option<Mutex<Streams>>,
}

impl OtlpDoor {
    /// A door that converts by these options.
    pub fn new(ingest: Ingest, options: OtlpOptions, limits: StreamLimits) -> Self {
        let streams = (options.delta || options.start_zeros).then(|| Mutex::new(Streams::new(limits)));
        Self(Arc::new(Inner { ingest, options, streams }))
    }

    /// Streams that are remembered, and their bytes, about.
    pub fn streams(&self) -> (usize, usize) {
        self.0.streams.as_ref().map_or((0, 0), |streams| streams.lock().size())
    }

    /// Reads and converts a request. Nothing is stored yet: whoever bounds the bodies in memory lets go of this one now,
    /// and calls [`Self::store`].
    ///
    /// # Errors
    /// See [`OtlpFailure`].
    pub async fn prepare(&self, export: OtlpExport) -> Result<PreparedExport, OtlpFailure> {
        let (large, origin, received_at) =
            (export.body.len() > LARGE, export.origin.clone(), export.received_at);
        let inner = self.0.clone();
        let read = move || inner.convert(&export);
        let mut converted =
            if large { tokio::task::spawn_blocking(read).await.map_err(|_| failed())?? } else { read()? };
        let body = std::mem::take(&mut converted.body).into();
        let write = OwnedWrite { origin, body, received_at };
        let prepared = self.0.ingest.prepare_write(write).await.map_err(|failure| match failure {
            WriteFailure::Failed(error) => error.into(),
            WriteFailure::Refused(error @ WriteError::TooLarge { .. }) => {
                OtlpFailure::TooLarge(error.to_string())
            }
            WriteFailure::Refused(error) => OtlpFailure::Malformed(error.to_string()),
        })?;
        Ok(PreparedExport { prepared, converted })
    }

    /// Stores what was read. On `Ok` everything that was accepted is committed.
    ///
    /// # Errors
    /// Nothing was acknowledged; sending the request again may help.
    pub async fn store(&self, export: PreparedExport) -> Result<OtlpOutcome, IngestError> {
        let PreparedExport { prepared, converted } = export;
        let written = self.0.ingest.store_write(prepared).await?;
        if !written.duplicate {
            self.0.ingest.count_refused(Protocol::Otlp, Refusal::InvalidValue, converted.refused);
        }
        Ok(outcome(&converted, &written))
    }
}

fn failed() -> OtlpFailure {
    let message = "reading the request failed".to_owned();
    OtlpFailure::Failed(IngestError::Store { message, retryable: false })
}

impl Inner {
    fn convert(&self, export: &OtlpExport) -> Result<Converted, OtlpFailure> {
        let transcribed;
        let body = match export.form {
            OtlpForm::Protobuf => export.body.as_ref(),
            OtlpForm::Json => {
                let read = protobuf_of_json(&export.body);
                transcribed = read.map_err(|error| OtlpFailure::Malformed(error.to_string()))?;
                transcribed.as_slice()
            }
        };
        let accepted = accepted_times(export.received_at, self.ingest.limits());
        let request = Request {
            body,
            source_id: &export.origin.source_id,
            received_at: export.received_at,
            earliest: *accepted.start(),
            latest: *accepted.end(),
        };
        let mut streams = self.streams.as_ref().map(Mutex::lock);
        convert(request, &self.options, streams.as_deref_mut()).map_err(|error| match error {
            OtlpError::Damaged(_) => OtlpFailure::Malformed(error.to_string()),
            OtlpError::TooLarge { .. } => OtlpFailure::TooLarge(error.to_string()),
        })
    }
}

/// What the sender is told: data points, whatever series they became.
fn outcome(converted: &Converted, written: &Written) -> OtlpOutcome {
    let refused: u64 = written.refused.values().sum();
    let rejected = converted.rejected(written.refused_series.iter().map(|series| *series as usize));
    let mut outcome = OtlpOutcome { points: converted.points, rejected, message: String::new() };
    if rejected == 0 && refused == 0 {
        return outcome;
    }
    let text = &mut outcome.message;
    // Writing into a string cannot fail.
    let _ = write!(text, "{rejected} of {} data points were not stored as a whole", converted.points);
    for (reason, count) in &written.refused {
        let _ = write!(text, "; {count} samples: {reason}");
    }
    let described = converted.faults.iter().chain(written.faults.iter().map(|fault| &fault.message));
    for fault in described.take(MAX_FAULTS) {
        let _ = write!(text, "; {fault}");
    }
    outcome
}
