//! `opentelemetry.proto.collector.metrics.v1.MetricsService/Export`.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use metricsd_codec::otlp::answer::ExportResponse;
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::{Caller, OtlpDoor, OtlpExport, OtlpForm, Protocol, WriteOrigin};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower_service::Service;

use crate::GrpcOptions;
use crate::arrival::{Places, Slot};
use crate::entry::{Entry, source_of};
use crate::raw::Raw;
use crate::status::{mended, of_denied, of_error, of_failure};
use crate::wire::Wire;

/// Who sends, where nobody says.
const DEFAULT_SOURCE: &str = "otlp";

/// The service.
#[derive(Clone)]
pub(crate) struct MetricsService {
    door: OtlpDoor,
    entry: Entry,
    options: GrpcOptions,
    places: Places,
    refused: RefusedBodies,
}

impl MetricsService {
    pub(crate) fn new(door: OtlpDoor, entry: Entry, options: GrpcOptions, refused: RefusedBodies) -> Self {
        let places = Places::new(options.max_concurrent_pushes, refused.clone());
        Self { door, entry, places, options, refused }
    }

    async fn export(self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let caller = self.entry.caller(request.headers())?;
        let (limit, patience) = (self.options.max_message_bytes, self.options.timeout);
        let ratio = self.options.max_ratio;
        let refused = self.refused.clone();
        let (request, wire) = Wire::count(request, refused.clone());
        let answered = async move {
            let (request, slot) = match self.places.whole(request, limit).await {
                Ok((request, slot)) => (request, Some(slot)),
                Err(status) => return status.into_http(),
            };
            Grpc::new(Raw)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(limit)
                .unary(Export { door: self.door, caller, slot, wire, ratio }, request)
                .await
        };
        match tokio::time::timeout(patience, answered).await {
            Ok(response) => mended(response, limit).map_err(|(status, reason)| {
                refused.count(reason);
                status
            }),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the request did not arrive, or was not stored, within {} s",
                patience.as_secs_f64()
            ))),
        }
    }
}

impl NamedService for MetricsService {
    const NAME: &'static str = "opentelemetry.proto.collector.metrics.v1.MetricsService";
}

impl Service<http::Request<Body>> for MetricsService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if request.uri().path().rsplit('/').next() != Some("Export") {
                return Ok(Status::unimplemented("MetricsService has the method Export alone").into_http());
            }
            Ok(this.export(request).await.unwrap_or_else(Status::into_http))
        })
    }
}

/// One call.
struct Export {
    door: OtlpDoor,
    caller: Caller,
    slot: Option<Slot>,
    wire: Wire,
    ratio: usize,
}

impl UnaryService<Bytes> for Export {
    type Response = Vec<u8>;
    type Future = BoxFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (door, caller, slot) = (self.door.clone(), self.caller.clone(), self.slot.take());
        let in_bounds = self.wire.check(request.get_ref().len() as u64, self.ratio);
        Box::pin(async move {
            in_bounds?;
            let source = source_of(&request, &caller, DEFAULT_SOURCE)?;
            let origin = WriteOrigin { caller, ..WriteOrigin::new(source, Protocol::Otlp) };
            let received_at = chrono::Utc::now().timestamp_millis();
            let body = request.into_inner();
            origin.caller.take_bytes(body.len() as u64).map_err(|denied| of_denied(&denied))?;
            let export = OtlpExport { origin, form: OtlpForm::Protobuf, body, received_at };
            let prepared = door.prepare(export).await.map_err(of_failure)?;
            drop(slot);
            let outcome = door.store(prepared).await.map_err(of_error)?;
            let answer = if outcome.message.is_empty() {
                ExportResponse::whole()
            } else {
                ExportResponse::partial(outcome.rejected, outcome.message)
            };
            Ok(Response::new(answer.to_bytes()))
        })
    }
}
