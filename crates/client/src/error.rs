//! Why a request failed, found in the chain of causes.

use std::error::Error as StdError;

use metricsd_model::FailureReason;

/// Why a request failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// Out of a closed set.
    pub reason: FailureReason,
    /// A sentence for people; holds no secret.
    pub message: String,
}

impl ClientError {
    /// An error of one reason.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Something about who we are.
    pub(crate) fn credentials(message: impl Into<String>) -> Self {
        Self::new(FailureReason::Credentials, message)
    }

    /// Something about TLS.
    pub(crate) fn tls(message: impl Into<String>) -> Self {
        Self::new(FailureReason::Tls, message)
    }
}

/// Finds the reason in the chain of causes.
pub(crate) fn classify(error: &(dyn StdError + 'static)) -> ClientError {
    let mut message = "the connection broke".to_owned();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(known) = known(cause) {
            return known;
        }
        // The innermost cause says most; those around it repeat the address.
        message = cause.to_string();
        next = cause.source();
    }
    ClientError::new(FailureReason::Connect, message)
}

/// Errors of our own and of TLS. An I/O error hides what it wraps from the chain of sources, and wraps other I/O errors.
fn known(cause: &(dyn StdError + 'static)) -> Option<ClientError> {
    if let Some(own) = cause.downcast_ref::<ClientError>() {
        return Some(own.clone());
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(ClientError::tls(tls_sentence(tls)));
    }
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)?;
    known(inner)
}

/// What went wrong with TLS, and what to do about it where that is known.
fn tls_sentence(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error};
    let hint = match error {
        // A signature that does not hold is that of another authority of the same name.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "nobody that we trust signed the server's certificate; give its CA in tls_config"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate is another host's; tls_config.server_name says which name to expect",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.to_string() == "UnsupportedCertVersion" =>
        {
            "the server's certificate is of an X.509 version before 3, with which nothing can be verified; a new one is needed"
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown,
        ) => "the server does not accept our certificate; tls_config says which we show",
        Error::InvalidMessage(_) => "the server does not speak TLS",
        _ => return format!("TLS failed: {error}"),
    };
    format!("{hint} ({error})")
}
