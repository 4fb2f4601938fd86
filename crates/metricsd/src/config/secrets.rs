//! Secrets of the configuration: read from files, never shown.

use std::path::Path;

use metricsd_model::MASK;

/// A secret file that is longer was not meant: a key or a URL is some hundred bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Reads a secret from a file; the line break at its end, which editors add, is no part of it.
pub(super) fn read(path: &str) -> Result<String, String> {
    let refuse = |error: std::io::Error| format!("{path} cannot be read: {error}");
    let size = std::fs::metadata(Path::new(path)).map_err(refuse)?.len();
    if size > MAX_SECRET_BYTES {
        return Err(format!("{path} is longer than {MAX_SECRET_BYTES} bytes; expected one secret"));
    }
    let text = std::fs::read_to_string(path).map_err(refuse)?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(format!("{path} is empty; expected one secret"));
    }
    Ok(secret.to_owned())
}

/// The same URL with a mask in place of its password, wherever databases allow one.
///
/// Works on the text, since a URL that does not parse (several hosts, an unescaped `@`) must not show its password
/// either; where in doubt it masks more.
pub(super) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let Some((user, host)) = rest.rsplit_once('@') else {
        return format!("{scheme}://{}", mask_parameters(rest));
    };
    let user = match user.split_once(':') {
        Some((name, _)) => format!("{name}:{MASK}"),
        None => user.to_owned(),
    };
    format!("{scheme}://{user}@{}", mask_parameters(host))
}

/// Where the database of a URL is: host and name, without user, password and parameters; fit to be shown to anyone.
pub(crate) fn place_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
    address.split_once('?').map_or(address, |(address, _)| address)
}

fn mask_parameters(address: &str) -> String {
    let Some((address, parameters)) = address.split_once('?') else {
        return address.to_owned();
    };
    let parameters = parameters.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret_name(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    format!("{address}?{}", parameters.collect::<Vec<_>>().join("&"))
}

/// Whether the value that goes by this name is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let marks =
        ["password", "passwd", "secret", "token", "key.pem", "sasl.oauthbearer.config", "credentials"];
    marks.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        let check = |url: &str, expected: &str| assert_eq!(mask_url(url), expected);
        check("sqlite:data/metricsd.db", "sqlite:data/metricsd.db");
        check("postgres://db/metricsd", "postgres://db/metricsd");
        check("postgres://me@db/metricsd", "postgres://me@db/metricsd");
        check("postgres://me:pw@db:5432/metricsd", "postgres://me:********@db:5432/metricsd");
        check("postgres://me:p@w:/x@db/metricsd", "postgres://me:********@db/metricsd");
        check("postgres://me:p?w@db/metricsd", "postgres://me:********@db/metricsd");
        check("redis://:pw@cache:6379/1", "redis://:********@cache:6379/1");
        check("postgres://db/m?user=me&password=pw&a=b", "postgres://db/m?user=me&password=********&a=b");
    }

    #[test]
    fn places_hold_no_secret() {
        let check = |url: &str, expected: &str| assert_eq!(place_of(url), expected);
        check("postgres://db/metricsd", "db/metricsd");
        check("postgres://me:pw@db:5432/metricsd?password=pw", "db:5432/metricsd");
        check("postgres://me:p@w:/x@db/metricsd", "db/metricsd");
        check("postgres://me:p?w@db/metricsd", "db/metricsd");
        check("postgres:///metricsd?host=/run/postgresql&password=pw", "/metricsd");
    }

    #[test]
    fn secret_settings_are_known_by_name() {
        assert!(is_secret_name("sasl.password"));
        assert!(is_secret_name("ssl.key.password"));
        assert!(is_secret_name("sasl.oauthbearer.client.secret"));
        assert!(!is_secret_name("security.protocol"));
    }
}
