//! Certificates of old kinds, with which nothing can be proved any more: `insecure_skip_verify` takes them all the same,
//! and ours may be one where the server says that it will do.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::certificates::{Authority, server};
use common::{Folder, client, fetch, inline, ok, serve};
use metricsd_model::{FailureReason, HttpOptions, TlsOptions};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ALL_VERSIONS, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, version,
};

/// X.509 version 1 for `localhost`, until 2126: `openssl x509 -req` without extensions made it.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBJTCBywIUCMs8fbS90z2RhOCDuEtcVyJQiOYwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE3NDgzMFoYDzIxMjYxMDI4MTc0ODMw
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AARy0g0U8NlRNk7dzwmDrsb7N+5zWkKS7f68fRJi3UDKOIVO4SSQqXJboouibxRc
/smByJojMvSjjQJ4f3AaWjQNMAoGCCqGSM49BAMCA0kAMEYCIQDIhOmRHxr0FwXg
a1WaxzdEDDpRH8uGgjh/yp9Q2FVSpgIhANP761NZW91AV9UuHwuUoa7e3FPU6NMi
7TMplQMB7FPT
-----END CERTIFICATE-----
";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9lovLrGUIpIAgnCu
2nevkGiHDQUtepTDgmCtRf2rcaehRANCAARy0g0U8NlRNk7dzwmDrsb7N+5zWkKS
7f68fRJi3UDKOIVO4SSQqXJboouibxRc/smByJojMvSjjQJ4f3AaWjQN
-----END PRIVATE KEY-----
";

fn with(tls: TlsOptions) -> HttpOptions {
    HttpOptions { tls, ..HttpOptions::default() }
}

fn insecure() -> TlsOptions {
    TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() }
}

fn trusting(ca: &str) -> TlsOptions {
    TlsOptions { ca: Some(inline(ca)), ..TlsOptions::default() }
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()
}

/// A server that shows the certificate as it is.
fn shows_version_1() -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let pair = SingleCertAndKey::from(CertifiedKey::new(vec![certificate()], key));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(pair))
}

#[tokio::test]
async fn servers_with_certificates_of_version_1_are_taken_where_nothing_is_verified() {
    let served = serve(Some(shows_version_1()), |_| ok("secret page")).await;
    let url = format!("https://localhost:{}/metrics", served.address.port());
    assert_eq!(fetch(&client(&with(insecure())), &url).await.unwrap().1, "secret page");
    for tls in [TlsOptions::default(), trusting(CERTIFICATE)] {
        let error = fetch(&client(&with(tls)), &url).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Tls, "{error}");
        assert!(error.message.contains("version before 3"), "{error}");
    }
}

/// Wants a certificate, takes only the one of version 1, and checks no signature.
#[derive(Debug)]
struct TakesVersion1;

impl ClientCertVerifier for TakesVersion1 {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match *end_entity == certificate() {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(Error::General("another certificate".to_owned())),
        }
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

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[tokio::test]
async fn our_certificate_may_be_of_version_1() {
    let authority = Authority::new();
    let pair = authority.issue(&["localhost"]);
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let usual = server(&pair, None, versions);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(Arc::new(TakesVersion1))
            .with_cert_resolver(usual.cert_resolver.clone());
        let served = serve(Some(config), |_| ok("secret page")).await;
        let url = format!("https://localhost:{}/metrics", served.address.port());
        let tls = |cert: &str, key: &str| TlsOptions {
            cert: Some(inline(cert)),
            key: Some(inline(key)),
            ..trusting(&authority.pem())
        };
        let ours = client(&with(tls(CERTIFICATE, KEY)));
        assert_eq!(fetch(&ours, &url).await.unwrap().1, "secret page");
        let other = authority.issue(&["metricsd"]);
        let error = fetch(&client(&with(tls(&other.cert, &other.key))), &url).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Tls, "{error}");
    }
}

/// A server of OpenSSL, which ends with its test.
struct OpenSsl(Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What we speak TLS with cannot sign with such a small key: the server has to be another's.
#[tokio::test]
async fn servers_with_keys_of_1024_bits_are_taken_where_nothing_is_verified() {
    let folder = Folder::new();
    let make = "req -x509 -newkey rsa:1024 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost";
    match openssl(folder.path(), make).status() {
        Ok(status) => assert!(status.success(), "openssl makes no certificate"),
        Err(error) => return eprintln!("left out: there is no openssl here ({error})"),
    }
    let address = free_address();
    let serve =
        format!("s_server -accept {address} -cert cert.pem -key key.pem -www -cipher ALL:@SECLEVEL=0");
    let _server = OpenSsl(openssl(folder.path(), &serve).spawn().unwrap());
    let url = format!("https://localhost:{}/", address.port());
    let insecure = client(&with(insecure()));
    let mut answer = fetch(&insecure, &url).await;
    for _ in 0..100 {
        if !matches!(&answer, Err(error) if error.reason == FailureReason::Connect) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = fetch(&insecure, &url).await;
    }
    assert_eq!(answer.unwrap().0, 200);
    let cert = std::fs::read_to_string(folder.path().join("cert.pem")).unwrap();
    let error = fetch(&client(&with(trusting(&cert))), &url).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Tls, "with an authority it is refused: {error}");
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
