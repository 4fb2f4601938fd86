//! Parts of a target's URL: what may stand in an address, and how path and parameters are written.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Whether a text is `host` or `host:port`.
pub(super) fn check(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("it has no address: __address__ is empty after relabelling".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is not host:port; scheme and path have labels of their own"));
    }
    let is_strange = |c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c);
    let is_url = || url::Url::parse(&format!("http://{address}/")).is_ok_and(|url| url.has_host());
    if address.contains(is_strange) || !is_url() {
        return Err(format!("{address:?} is not host:port"));
    }
    Ok(())
}

/// A path as a request carries it: what a path cannot hold is escaped, a question mark and a percent sign too.
pub(super) fn path(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        out.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A URL with parameters, in order of their names.
pub(super) fn with_query(base: &str, params: &BTreeMap<String, Vec<String>>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, values) in params {
        for value in values {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
}
