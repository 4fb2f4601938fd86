//! The grouping key, as an address writes it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metricsd_model::METRIC_NAME;

/// What every address begins with.
const FRONT: &str = "/metrics/";

/// Ends a name whose value is base64.
const BASE64: &str = "@base64";

/// Labels of one group.
const MAX_LABELS: usize = 64;

/// Reads `/metrics/job/<job>{/<label>/<value>}`.
///
/// # Errors
/// What is wrong, as a sentence.
pub(super) fn read(path: &str) -> Result<BTreeMap<String, String>, String> {
    let mut parts = path.strip_prefix(FRONT).unwrap_or_default().split('/');
    let mut labels = BTreeMap::new();
    while let Some(name) = parts.next() {
        let value = parts.next().ok_or("the address has a label without a value")?;
        let name = decoded(name)?;
        let (name, value) = match name.strip_suffix(BASE64) {
            Some(name) => (name.to_owned(), unpacked(name, value)?),
            None if value.is_empty() => {
                return Err(format!(
                    "the value of {name:?} is empty; write {name}{BASE64}/= for an empty one"
                ));
            }
            None => (name, decoded(value)?),
        };
        if name.is_empty() || name.starts_with("__") || name == METRIC_NAME {
            return Err(format!("{name:?} is no name for a label of a group"));
        }
        if name.contains('\0') || value.contains('\0') {
            return Err(format!("the label {name:?} holds a NUL character"));
        }
        // The job stands first, and of two labels of one name the first counts.
        labels.entry(name).or_insert(value);
        if labels.len() > MAX_LABELS {
            return Err(format!("a group has at most {MAX_LABELS} labels"));
        }
    }
    match labels.get("job") {
        Some(job) if !job.is_empty() => Ok(labels),
        _ => Err("the job's name is missing".to_owned()),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = percent_decode(text.as_bytes());
    String::from_utf8(bytes).map_err(|_| "the address is not UTF-8".to_owned())
}

/// `%41` is `A`; what is none such stays.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digit = |place: usize| (*after.get(place)? as char).to_digit(16);
        rest = after;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => out.push(*first),
        }
    }
    out
}

/// Base64 of the alphabet for addresses, padded or not.
fn unpacked(name: &str, value: &str) -> Result<String, String> {
    let value = decoded(value)?;
    let bytes = URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| format!("the value of {name:?} is not base64 of a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &[(&str, &str)]) {
        let expected =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read(path), Ok(expected), "{path}");
    }

    #[test]
    fn grouping_keys_read() {
        check("/metrics/job/some_job", &[("job", "some_job")]);
        check("/metrics/job/j/instance/a%20b", &[("instance", "a b"), ("job", "j")]);
        check("/metrics/job/dir/path@base64/L3Zhci90bXA", &[("job", "dir"), ("path", "/var/tmp")]);
        check("/metrics/job/dir/path@base64/L3Zhci90bXA=", &[("job", "dir"), ("path", "/var/tmp")]);
        check("/metrics/job/x/first@base64/=/second/y", &[("first", ""), ("job", "x"), ("second", "y")]);
        check("/metrics/job@base64/L3Zhci90bXA=/a/b", &[("a", "b"), ("job", "/var/tmp")]);
        check("/metrics/job/t/name/%CE%A0%CF%81", &[("job", "t"), ("name", "Πρ")]);
        check("/metrics/job/t/name@base64/zqDPgc6_zrzOt864zrXPjc-C", &[("job", "t"), ("name", "Προμηθεύς")]);
        check("/metrics/job/a/job/b/x/100%", &[("job", "a"), ("x", "100%")]);
    }

    #[test]
    fn mistakes_are_named() {
        for (path, problem) in [
            ("/metrics/job/", "the value of \"job\" is empty; write job@base64/= for an empty one"),
            ("/metrics/job@base64/=", "the job's name is missing"),
            ("/metrics/job/a/b", "the address has a label without a value"),
            ("/metrics/job/a/b/", "the value of \"b\" is empty; write b@base64/= for an empty one"),
            ("/metrics/job/a/__b/c", "\"__b\" is no name for a label of a group"),
            ("/metrics/job/a//c", "\"\" is no name for a label of a group"),
            ("/metrics/job/a/b@base64/!", "the value of \"b\" is not base64 of a text"),
            ("/metrics/job/a/b@base64/_w", "the value of \"b\" is not base64 of a text"),
            ("/metrics/job/%ff", "the address is not UTF-8"),
            ("/metrics/job/a/b/%00", "the label \"b\" holds a NUL character"),
        ] {
            assert_eq!(read(path), Err(problem.to_owned()), "{path}");
        }
        let many: String = (0..70).map(|number| format!("/l{number}/v")).collect();
        assert!(read(&format!("/metrics/job/a{many}")).is_err());
    }
}
