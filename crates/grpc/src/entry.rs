//! Who calls, and whose samples a call brings.

use std::sync::Arc;

use metricsd_ingest::access::credential;
use metricsd_ingest::{Access, Caller, Door};
use metricsd_model::check_source_id;
use metricsd_ports::Right;
use tonic::codegen::http::{HeaderMap, HeaderValue, header};
use tonic::{Request, Status};

use crate::status::of_denied;

/// Who sends, where the call says.
const SOURCE_KEY: &str = "x-source-id";

/// Where calls come in, and who may.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) access: Arc<Access>,
    pub(crate) door: Door,
}

impl Entry {
    /// Who calls, if they may push.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Status> {
        let presented = credential(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
        self.access.check(presented.as_deref(), Right::Push, self.door).map_err(|denied| of_denied(&denied))
    }
}

/// Whose samples a call brings: as its metadata says, else those of the source that the token is bound to, else those of
/// `default`.
pub(crate) fn source_of<T>(request: &Request<T>, caller: &Caller, default: &str) -> Result<String, Status> {
    let source = caller.source(asked(request)?).map_err(|denied| of_denied(&denied))?;
    Ok(source.unwrap_or_else(|| default.to_owned()))
}

fn asked<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    let Some(value) = request.metadata().get(SOURCE_KEY) else {
        return Ok(None);
    };
    let refused = |message: String| Status::invalid_argument(format!("{SOURCE_KEY}: {message}"));
    let id = value.to_str().map_err(|_| refused("holds bytes that are no text".to_owned()))?;
    check_source_id(id).map_err(refused)?;
    Ok(Some(id.to_owned()))
}
