//! Reads the parameters of a request: those of a form before those of the address, as Prometheus does.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};

use super::error::ApiError;
use crate::api::Shared;
use crate::body::{self, BodyLimits};

/// The largest form that is read, before and after decompression.
pub(crate) const MAX_FORM: usize = 1 << 20;

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// The parameters of one request. A name may stand several times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a parameter; empty where it is absent.
    pub(crate) fn first(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, text: &[u8]) -> Result<(), String> {
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            self.0.push((name, value));
        }
        Ok(())
    }
}

/// Undoes the encoding of a form. Unlike browsers it refuses what is not well encoded, since a query that was changed
/// on the way would be answered as another.
fn decode(text: &[u8]) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = byte else {
                    let shown = String::from_utf8_lossy(&tail[..tail.len().min(2)]);
                    return Err(format!("invalid URL escape \"%{shown}\""));
                };
                out.push(byte);
                rest = &tail[2..];
            }
            other => out.push(*other),
        }
    }
    String::from_utf8(out).map_err(|_| "invalid UTF-8".to_owned())
}

impl FromRequest<Arc<Shared>> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let refused = |message| ApiError::bad_data(format!("error parsing form values: {message}"));
        let mut form = Self::default();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or("").trim();
        if parts.method == Method::POST && essence.eq_ignore_ascii_case(FORM) {
            let limits = BodyLimits::small(&shared.api, MAX_FORM);
            let bytes = body::read(&parts.headers, body, limits).await;
            form.add(&bytes.map_err(|problem| ApiError::from(&problem))?).map_err(refused)?;
        }
        form.add(parts.uri.query().unwrap_or("").as_bytes()).map_err(refused)?;
        Ok(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_taken_apart() {
        let check = |text: &str, expected: Result<&[(&str, &str)], &str>| {
            let mut form = Form::default();
            let read = form.add(text.as_bytes()).map(|()| form.0);
            let expected = expected.map(|pairs| {
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
            });
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        };
        check("", Ok(&[]));
        check("a=1&&b", Ok(&[("a", "1"), ("b", "")]));
        check("a=b=c+d%2B", Ok(&[("a", "b=c d+")]));
        check("match%5B%5D=%C3%A4", Ok(&[("match[]", "ä")]));
        check("a=%", Err("invalid URL escape \"%\""));
        check("a=%4", Err("invalid URL escape \"%4\""));
        check("a=%zz", Err("invalid URL escape \"%zz\""));
        check("a=%+1", Err("invalid URL escape \"%+1\""));
        check("a=%ff", Err("invalid UTF-8"));
    }

    #[test]
    fn the_first_of_a_name_counts() {
        let mut form = Form::default();
        form.add(b"a=1&b=2").unwrap();
        form.add(b"a=3").unwrap();
        assert_eq!((form.first("a"), form.first("c")), ("1", ""));
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1", "3"]);
    }
}
