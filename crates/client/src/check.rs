//! What can never work, whatever is in files and the environment.

use metricsd_model::{FailureReason, HttpAuth, HttpOptions, Oauth2Options, TlsOptions};
use url::Url;

use crate::context::SecretAccess;
use crate::error::ClientError;
use crate::headers::check_name;
use crate::tls;

/// One thing that is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which setting, as Prometheus' configuration names it.
    pub field: String,
    /// What is wrong with it; a sentence that goes on from the field.
    pub message: String,
    /// Which reason a request has that fails for it.
    pub reason: FailureReason,
}

/// The first thing that is wrong.
pub(crate) fn check(options: &HttpOptions) -> Result<(), ClientError> {
    match faults(options).into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(ClientError::new(fault.reason, format!("{} {}", fault.field, fault.message))),
    }
}

/// Everything that is wrong.
pub fn faults(options: &HttpOptions) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |field: String, message: String, reason| faults.push(Fault { field, message, reason });
    for name in options.headers.keys() {
        if let Err(message) = check_name(name) {
            fault(format!("http_headers.{name}"), message, FailureReason::Credentials);
        }
    }
    if let Err(message) = check_tls(&options.tls) {
        fault("tls_config".to_owned(), message, FailureReason::Tls);
    }
    match &options.auth {
        Some(HttpAuth::Oauth2(oauth2)) => {
            for (field, message) in check_oauth2(oauth2) {
                fault(format!("oauth2.{field}"), message, FailureReason::Credentials);
            }
        }
        Some(HttpAuth::Authorization { scheme, .. }) => {
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if scheme.is_empty() || !scheme.chars().all(token) {
                let message = "is no word that a header can begin with".to_owned();
                fault("authorization.type".to_owned(), message, FailureReason::Credentials);
            } else if scheme.eq_ignore_ascii_case("basic") {
                let message = "is basic, for which there is basic_auth".to_owned();
                fault("authorization.type".to_owned(), message, FailureReason::Credentials);
            }
        }
        Some(HttpAuth::Basic { .. }) | None => {}
    }
    let proxy = &options.proxy;
    if proxy.from_environment && (proxy.url.is_some() || proxy.no_proxy.is_some()) {
        let message = "cannot be set together with proxy_url or no_proxy".to_owned();
        fault("proxy_from_environment".to_owned(), message, FailureReason::Connect);
    }
    faults
}

fn check_tls(tls: &TlsOptions) -> Result<(), String> {
    if tls.cert.is_some() != tls.key.is_some() {
        return Err("has a certificate without a key, or the other way round".to_owned());
    }
    tls::versions(tls).map(|_| ()).map_err(|error| format!("cannot work: {}", error.message))
}

fn check_oauth2(oauth2: &Oauth2Options) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if oauth2.client_id.is_empty() {
        found.push(("client_id", "is missing".to_owned()));
    }
    match Url::parse(&oauth2.token_url) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let message = "holds a user name or a password; client_id and client_secret are for these";
            found.push(("token_url", message.to_owned()));
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {}
        _ => found.push(("token_url", "is no http or https address".to_owned())),
    }
    if let Err(message) = check_tls(&oauth2.tls) {
        found.push(("tls_config", message));
    }
    found
}

/// References that these settings may not make.
pub fn forbidden(options: &HttpOptions, access: &SecretAccess) -> Vec<Fault> {
    let mut faults = Vec::new();
    options.clone().visit_secrets(&mut |field, source| {
        if let Err(message) = access.check(source) {
            faults.push(Fault { field: field.to_owned(), message, reason: FailureReason::Credentials });
        }
    });
    faults
}
