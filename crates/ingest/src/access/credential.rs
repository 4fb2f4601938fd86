//! Reads the token out of what clients call authorization.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The token of an `Authorization` header, or of the metadata `authorization` of gRPC: `Bearer T`, `Token T` as Influx
/// clients send it, or the password of `Basic`, whose user name does not matter, as Prometheus and clients of the
/// Pushgateway send it. Absent where there is no header; the empty text where it does not read, which is no token.
pub fn credential(header: Option<&[u8]>) -> Option<String> {
    let text = String::from_utf8_lossy(header?);
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let rest = rest.trim();
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    let token = if is("bearer") || is("token") {
        Some(rest.to_owned())
    } else if is("basic") {
        password(rest)
    } else {
        None
    };
    Some(token.unwrap_or_default())
}

fn password(encoded: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}
