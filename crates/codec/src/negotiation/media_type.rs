//! `Content-Type` as RFC 9110 writes it, section 8.3.1: `type/subtype *( OWS ";" OWS [ name "=" ( token / quoted ) ] )`.

/// The media type, parameters left out; `None` where the header as a whole does not read.
pub(super) fn media_type(header: &str) -> Option<&str> {
    let (name, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
    let name = name.trim_ascii();
    let mut parts = name.split('/');
    let tokens = parts.by_ref().take(2).all(is_token);
    if !tokens || parts.next().is_some() {
        return None;
    }
    let mut seen: Vec<&str> = Vec::new();
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_ascii_start();
        rest = after;
        if after.is_empty() || after.starts_with(';') {
            continue;
        }
        let (parameter, end) = parameter(after)?;
        if seen.len() == MAX_PARAMETERS || seen.iter().any(|other| other.eq_ignore_ascii_case(parameter)) {
            return None;
        }
        seen.push(parameter);
        rest = end.trim_ascii_start();
    }
    rest.is_empty().then_some(name)
}

/// More than any format has; bounds the search for repetitions.
const MAX_PARAMETERS: usize = 32;

/// The name of the parameter at the start, and what follows it.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let end = match value.strip_prefix('"') {
        Some(quoted) => 1 + closing_quote(quoted)? + 1,
        None => value.find(|c: char| !is_token_char(c)).unwrap_or(value.len()),
    };
    (end > 0).then(|| (name, value.get(end..).unwrap_or_default()))
}

fn closing_quote(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    quoted.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn media_types_read_as_the_rfc_says() {
        let check = |header, expected| assert_eq!(media_type(header), expected, "{header:?}");
        check("text/plain", Some("text/plain"));
        check("text", Some("text"));
        check(" a/b\t; c=d ;e=\"f;\\\"g\" ; ", Some("a/b"));
        check("a/b;;c=d", Some("a/b"));
        for bad in [
            "",
            ";",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "a/b; c",
            "a/b; c=",
            "a/b; =d",
            "a/b;c=\"d",
            "a/b;c=d e",
            "a/b;c=1;C=2",
            "ä/b",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "[a-c/;= \"\\\\é]{0,40}") {
            let _ = media_type(&header);
        }
    }
}
