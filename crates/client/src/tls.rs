//! TLS as settings say: who may sign, what we show, which versions.

use std::fmt;
use std::sync::{Arc, OnceLock};

use metricsd_model::{TlsOptions, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    SignatureScheme, SupportedProtocolVersion, version,
};

use crate::context::Context;
use crate::error::ClientError;
use crate::secrets::Text;

/// What is read from files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsMaterial {
    ca: Option<Text>,
    cert: Option<Text>,
    key: Option<Text>,
}

impl TlsMaterial {
    /// Reads it.
    pub(crate) async fn read(options: &TlsOptions, context: &Context) -> Result<Self, ClientError> {
        let named = |what: &str, error: ClientError| ClientError::tls(format!("{what}: {}", error.message));
        Ok(Self {
            ca: context.optional(options.ca.as_ref()).await.map_err(|error| named("tls_config.ca", error))?,
            cert: context
                .optional(options.cert.as_ref())
                .await
                .map_err(|error| named("tls_config.cert", error))?,
            key: context
                .optional(options.key.as_ref())
                .await
                .map_err(|error| named("tls_config.key", error))?,
        })
    }
}

/// The provider of ciphers, the same for all.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// The system's certificate authorities, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

/// The versions between the two bounds; an error where none is left.
pub(crate) fn versions(options: &TlsOptions) -> Result<Vec<&'static SupportedProtocolVersion>, ClientError> {
    for (bound, name) in [(options.min_version, "min_version"), (options.max_version, "max_version")] {
        if let Some(old @ (TlsVersion::Tls10 | TlsVersion::Tls11)) = bound {
            let old = if old == TlsVersion::Tls10 { "1.0" } else { "1.1" };
            return Err(ClientError::tls(format!(
                "tls_config.{name} is TLS {old}, which is not spoken any more; the oldest is TLS12"
            )));
        }
    }
    let within = |version| {
        options.min_version.is_none_or(|min| min <= version)
            && options.max_version.is_none_or(|max| version <= max)
    };
    let all = [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)];
    let versions: Vec<_> =
        all.into_iter().filter(|(version, _)| within(*version)).map(|(_, version)| version).collect();
    match versions.is_empty() {
        true => Err(ClientError::tls("tls_config.min_version is above tls_config.max_version")),
        false => Ok(versions),
    }
}

/// Makes a configuration; ALPN is left to the caller.
pub(crate) fn config(options: &TlsOptions, material: &TlsMaterial) -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(options)?)
        .map_err(|error| ClientError::tls(format!("TLS cannot be set up: {error}")))?;
    let builder = match (&material.ca, options.insecure_skip_verify) {
        (_, true) => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)),
        (None, false) => builder.with_root_certificates(system_roots()),
        (Some(ca), false) => {
            let verifier = Arc::new(Named::new(ca)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    match (&material.cert, &material.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "tls_config.cert")?;
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|_| ClientError::tls("tls_config.key holds no private key as PEM"))?;
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair(chain, key)?))))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(ClientError::tls("tls_config has a certificate without a key, or the other way round")),
    }
}

/// Our certificate and its key. A certificate whose key cannot be read here, such as one of version 1, is shown as it is:
/// the server says whether it will do.
fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, ClientError> {
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| ClientError::tls(format!("tls_config.key is of no use here: {error}")))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(ClientError::tls("tls_config.cert and tls_config.key do not go together"))
        }
        _ => Ok(pair),
    }
}

fn certificates(pem: &Text, what: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose().as_bytes()).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(ClientError::tls(format!("{what} holds no certificate as PEM"))),
        Err(error) => Err(ClientError::tls(format!("{what} does not read as PEM: {error}"))),
    }
}

/// The name to ask for and to expect.
pub(crate) fn server_name(options: &TlsOptions, host: &str) -> Result<ServerName<'static>, ClientError> {
    let name = options.server_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned())
        .map_err(|_| ClientError::tls(format!("{name:?} is no name that a certificate can have")))
}

/// Accepts what the named authorities signed, and a certificate that is itself among them: a server's self-signed
/// certificate is often made so that it may sign others too, and is then its own authority.
#[derive(Debug)]
struct Named {
    authorities: Vec<CertificateDer<'static>>,
    usual: Arc<WebPkiServerVerifier>,
}

impl Named {
    fn new(ca: &Text) -> Result<Self, ClientError> {
        let authorities = certificates(ca, "tls_config.ca")?;
        let mut roots = RootCertStore::empty();
        for certificate in &authorities {
            roots.add(certificate.clone()).map_err(|error| {
                ClientError::tls(format!("a certificate of tls_config.ca does not read: {error}"))
            })?;
        }
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let usual = usual.map_err(|error| ClientError::tls(format!("tls_config.ca: {error}")))?;
        Ok(Self { authorities, usual })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match usual {
            // Its dates are checked before what it may be used for.
            Err(Error::InvalidCertificate(CertificateError::Other(other)))
                if other.0.to_string() == "CaUsedAsEndEntity"
                    && self.authorities.iter().any(|authority| **authority == **end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: anybody will do, with certificates of old versions and small keys too.
struct AnyCertificate;

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Those that we could verify, and those of certificates that we could not.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = provider().signature_verification_algorithms.supported_schemes();
        schemes.extend([SignatureScheme::ECDSA_NISTP521_SHA512, SignatureScheme::RSA_PKCS1_SHA1]);
        schemes
    }
}
