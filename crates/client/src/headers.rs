//! Further headers of a request, and which of them are ours to set.

use http::{HeaderMap, HeaderName, HeaderValue};
use metricsd_model::HttpOptions;

use crate::context::Context;
use crate::error::ClientError;

/// Headers that settings cannot set: the request's own frame, and what other settings are for.
const RESERVED: [&str; 20] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "www-authenticate",
    "x-prometheus-scrape-timeout-seconds",
];

/// Whether a header, in letters of either case, is one that settings cannot set.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// Whether settings may set this header; the error goes on from its name.
pub(crate) fn check_name(name: &str) -> Result<HeaderName, String> {
    let read = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not a header's name".to_owned())?;
    match is_reserved(read.as_str()) {
        true => Err("is a header that cannot be set here".to_owned()),
        false => Ok(read),
    }
}

/// Reads the values of all further headers. They are all kept from other origins: one cannot tell which are secrets.
pub(crate) async fn further(options: &HttpOptions, context: &Context) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    for (text, values) in &options.headers {
        let name = check_name(text)
            .map_err(|error| ClientError::credentials(format!("http_headers: {text:?} {error}")))?;
        let unfit = |_| ClientError::credentials(format!("http_headers: a value of {name} is malformed"));
        for value in &values.values {
            headers.append(name.clone(), HeaderValue::from_str(value).map_err(unfit)?);
        }
        for source in &values.secrets {
            let text = context.secret(source).await.map_err(|error| {
                ClientError::new(error.reason, format!("http_headers: {name}: {}", error.message))
            })?;
            let mut value = HeaderValue::from_str(text.expose()).map_err(unfit)?;
            value.set_sensitive(true);
            headers.append(name.clone(), value);
        }
    }
    Ok(headers)
}
