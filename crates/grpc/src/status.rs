//! Errors as gRPC says them, so that senders do the right thing: what may be sent again says when.

use std::time::Duration;

use metricsd_codec::otlp::answer;
use metricsd_ingest::{Denied, DeniedKind, IngestError, OtlpFailure};
use tonic::codegen::http;
use tonic::{Code, Status};
use tracing::{error, warn};

/// What senders are told to wait where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Come back later.
pub(crate) fn unavailable(message: &str, after: Duration) -> Status {
    retryable(Code::Unavailable, answer::Code::Unavailable, message, after)
}

fn retryable(code: Code, number: answer::Code, message: &str, after: Duration) -> Status {
    let details = answer::Status::new(number, message, Some(after.as_secs().max(1))).to_bytes();
    Status::with_details(code, message, details.into())
}

/// Why a request was not stored.
pub(crate) fn of_failure(failure: OtlpFailure) -> Status {
    match failure {
        OtlpFailure::Malformed(text) => Status::invalid_argument(text),
        OtlpFailure::TooLarge(text) => Status::resource_exhausted(text),
        OtlpFailure::Failed(error) => of_error(error),
    }
}

/// Why somebody was not let in, or has used up a quota.
pub(crate) fn of_denied(denied: &Denied) -> Status {
    let text = denied.to_string();
    match denied.kind() {
        DeniedKind::Unauthorized => Status::unauthenticated(text),
        DeniedKind::Forbidden => Status::permission_denied(text),
        DeniedKind::Limited => {
            let after = denied.retry_after().unwrap_or(RETRY_AFTER);
            retryable(Code::ResourceExhausted, answer::Code::ResourceExhausted, &text, after)
        }
        DeniedKind::Unavailable => unavailable(&text, denied.retry_after().unwrap_or(RETRY_AFTER)),
    }
}

/// Why a request was not stored although it reads. The store's own words are for the log.
pub(crate) fn of_error(failed: IngestError) -> Status {
    match failed {
        IngestError::Overloaded { retry_after } => retryable(
            Code::ResourceExhausted,
            answer::Code::ResourceExhausted,
            "more waits for the store than may; nothing of this request was acknowledged, send it again",
            retry_after,
        ),
        IngestError::Denied(denied) => of_denied(&denied),
        IngestError::Closed => unavailable("metricsd is shutting down; send this again", RETRY_AFTER),
        IngestError::Store { message, retryable: true } => {
            warn!(error = message, "a push was not stored");
            let told = "the store does not answer; nothing of this request was acknowledged, send it again";
            unavailable(told, RETRY_AFTER)
        }
        IngestError::Store { message, retryable: false } => {
            error!(error = message, "a push was not stored");
            Status::internal("a fault of metricsd's own; its log says more")
        }
    }
}

/// An answer of the framework's own, and as what a message that it refuses counts: one that is too large is `OUT_OF_RANGE` to
/// it, which senders of OTLP send again for ever.
pub(crate) fn mended<B>(
    response: http::Response<B>,
    limit: usize,
) -> Result<http::Response<B>, (Status, &'static str)> {
    let headers = response.headers();
    let is = |code: Code| {
        let said = headers.get(Status::GRPC_STATUS);
        said.is_some_and(|said| said.as_bytes() == i32::from(code).to_string().as_bytes())
    };
    let larger = |what: &str| {
        Status::resource_exhausted(format!(
            "the message is larger than {limit} bytes{what}, the bound set by limits.max_body_bytes"
        ))
    };
    if is(Code::OutOfRange) {
        return Err((larger(""), "too_large"));
    }
    let unpacking = headers.get(Status::GRPC_MESSAGE).map_or(b"".as_slice(), |said| said.as_bytes());
    if is(Code::ResourceExhausted) && unpacking.starts_with(b"Error%20decompressing") {
        return Err((larger(" once it is unpacked"), "too_large_unpacked"));
    }
    Ok(response)
}
