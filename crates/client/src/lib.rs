//! Requests to targets and to sources of targets, made as `model::HttpOptions` says.
//!
//! In the order of the flow: [`client`] makes one request, follows redirects and keeps the time; `auth` and `oauth2` say who
//! we are; [`secrets`] reads what they need from files and the environment; `connect` opens connections over `proxy` and
//! `tls`, to addresses that [`guard`] allows; [`trace`] notes what happened for whoever wants to see it; [`clients`] keeps one
//! client for all who have the same settings.

pub mod client;
mod response;

mod auth;
pub mod check;
pub mod context;
mod headers;
mod oauth2;
pub mod secrets;

mod connect;
pub mod guard;
mod proxy;
mod resolve;
mod tls;

pub mod clients;
pub mod error;
pub mod trace;

pub use client::{HttpClient, MAX_REDIRECTS, Request};
pub use clients::Clients;
pub use context::{Context, SecretAccess};
pub use error::ClientError;
pub use guard::AddressPolicy;
pub use headers::is_reserved as is_reserved_header;
pub use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
pub use response::Response;
pub use trace::{Exchange, Trace};
