//! `grpc.health.v1.Health/Check`: what load balancers and orchestrators ask.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower_service::Service;

use crate::raw::Raw;

/// Bytes of a question.
const MAX_QUESTION: usize = 4 << 10;

/// `HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Question {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// `HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Answer {
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

/// `ServingStatus`.
pub(crate) const SERVING: i32 = 1;
pub(crate) const NOT_SERVING: i32 = 2;

/// The service.
#[derive(Clone)]
pub(crate) struct Health {
    /// What else is served here.
    pub(crate) services: Vec<&'static str>,
    /// Cancelled when the process begins to drain.
    pub(crate) stop: CancellationToken,
}

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl Service<http::Request<Body>> for Health {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let check = Check(self.clone());
        Box::pin(async move {
            if request.uri().path().rsplit('/').next() != Some("Check") {
                return Ok(Status::unimplemented("of Health only Check is served").into_http());
            }
            Ok(Grpc::new(Raw).max_decoding_message_size(MAX_QUESTION).unary(check, request).await)
        })
    }
}

struct Check(Health);

impl UnaryService<Bytes> for Check {
    type Response = Vec<u8>;
    type Future = std::future::Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        std::future::ready(self.0.answer(request.into_inner()))
    }
}

impl Health {
    fn answer(&self, question: Bytes) -> Result<Response<Vec<u8>>, Status> {
        let question =
            Question::decode(question).map_err(|_| Status::invalid_argument("not a HealthCheckRequest"))?;
        if !question.service.is_empty() && !self.services.contains(&question.service.as_str()) {
            return Err(Status::not_found("there is no such service here"));
        }
        let status = if self.stop.is_cancelled() { NOT_SERVING } else { SERVING };
        Ok(Response::new(Answer { status }.encode_to_vec()))
    }
}
