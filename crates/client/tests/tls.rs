//! TLS towards real servers.

mod common;

use std::path::Path;
use std::time::Duration;

use common::certificates::{Authority, Pair, self_signed, server};
use common::{Folder, Server, client, context, fetch, inline, ok, serve};
use metricsd_client::{HttpClient, Trace};
use metricsd_model::{FailureReason, HttpOptions, SecretSource, TlsOptions, TlsVersion};
use rustls::{ALL_VERSIONS, version};

async fn secure(pair: &Pair) -> Server {
    serve(Some(server(pair, None, ALL_VERSIONS)), |_| ok("secret page")).await
}

fn with(tls: TlsOptions) -> HttpOptions {
    HttpOptions { tls, ..HttpOptions::default() }
}

fn trusting(ca: &str) -> TlsOptions {
    TlsOptions { ca: Some(inline(ca)), ..TlsOptions::default() }
}

fn url(server: &Server, host: &str) -> String {
    format!("https://{host}:{}/metrics", server.address.port())
}

async fn accepted(tls: TlsOptions, url: &str) {
    let body = fetch(&client(&with(tls)), url).await.unwrap().1;
    assert_eq!(body, "secret page");
}

async fn refused(tls: TlsOptions, url: &str, part: &str) {
    let error = fetch(&client(&with(tls)), url).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Tls, "{error}");
    assert!(error.message.contains(part), "{:?} does not say {part:?}", error.message);
}

#[tokio::test]
async fn servers_are_known_by_who_signed_their_certificate_and_by_its_name() {
    let authority = Authority::new();
    let local = secure(&authority.issue(&["localhost", "127.0.0.1"])).await;
    accepted(trusting(&authority.pem()), &url(&local, "localhost")).await;
    accepted(trusting(&authority.pem()), &url(&local, "127.0.0.1")).await;
    refused(TlsOptions::default(), &url(&local, "localhost"), "nobody that we trust").await;
    refused(trusting(&Authority::new().pem()), &url(&local, "localhost"), "nobody that we trust").await;

    let named = secure(&authority.issue(&["node.example"])).await;
    refused(trusting(&authority.pem()), &url(&named, "localhost"), "tls_config.server_name").await;
    let tls = TlsOptions { server_name: Some("node.example".into()), ..trusting(&authority.pem()) };
    accepted(tls.clone(), &url(&named, "localhost")).await;
    refused(tls, &url(&local, "localhost"), "another host's").await;

    let expired = secure(&authority.issue_until(&["localhost"], 2020)).await;
    refused(trusting(&authority.pem()), &url(&expired, "localhost"), "expired").await;
    for server in [&local, &named, &expired] {
        let tls = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
        accepted(tls, &url(server, "localhost")).await;
    }
}

#[tokio::test]
async fn a_certificate_may_be_its_own_authority_but_for_its_own_name_and_time_only() {
    let good = self_signed("localhost", 2100);
    let served = secure(&good).await;
    accepted(trusting(&good.cert), &url(&served, "localhost")).await;
    refused(trusting(&good.cert), &url(&served, "127.0.0.1"), "another host's").await;
    refused(trusting(&self_signed("localhost", 2100).cert), &url(&served, "localhost"), "").await;
    let old = self_signed("localhost", 2020);
    refused(trusting(&old.cert), &url(&secure(&old).await, "localhost"), "expired").await;
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_gets_it() {
    let authority = Authority::new();
    let ours = authority.issue(&["metricsd"]);
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let config = server(&authority.issue(&["localhost"]), Some(&authority), versions);
        let served = serve(Some(config), |_| ok("secret page")).await;
        let with_ours = TlsOptions {
            cert: Some(inline(&ours.cert)),
            key: Some(inline(&ours.key)),
            ..trusting(&authority.pem())
        };
        accepted(with_ours.clone(), &url(&served, "localhost")).await;
        refused(trusting(&authority.pem()), &url(&served, "localhost"), "does not accept our certificate")
            .await;
        let other = authority.issue(&["metricsd"]);
        let mixed = TlsOptions { key: Some(inline(&other.key)), ..with_ours };
        refused(mixed, &url(&served, "localhost"), "do not go together").await;
    }
    let half = with(TlsOptions { cert: Some(inline(&ours.cert)), ..TlsOptions::default() });
    let error = HttpClient::new(&half, &context(Path::new("/"), &[])).err().unwrap();
    assert!(error.message.contains("without a key"), "{error}");
    let plain = secure(&ours).await;
    refused(trusting("no certificate"), &url(&plain, "localhost"), "tls_config.ca").await;
}

#[tokio::test]
async fn versions_are_kept_within_their_bounds() {
    let authority = Authority::new();
    let pair = authority.issue(&["localhost"]);
    let old = serve(Some(server(&pair, None, &[&version::TLS12])), |_| ok("secret page")).await;
    let tls = |min, max| TlsOptions { min_version: min, max_version: max, ..trusting(&authority.pem()) };
    accepted(tls(Some(TlsVersion::Tls12), None), &url(&old, "localhost")).await;
    refused(tls(Some(TlsVersion::Tls13), None), &url(&old, "localhost"), "").await;
    let new = serve(Some(server(&pair, None, &[&version::TLS13])), |_| ok("secret page")).await;
    accepted(tls(None, None), &url(&new, "localhost")).await;
    refused(tls(None, Some(TlsVersion::Tls12)), &url(&new, "localhost"), "").await;
    for (min, max, part) in [
        (Some(TlsVersion::Tls10), None, "1.0"),
        (None, Some(TlsVersion::Tls11), "1.1"),
        (Some(TlsVersion::Tls13), Some(TlsVersion::Tls12), "above"),
    ] {
        let error = HttpClient::new(&with(tls(min, max)), &context(Path::new("/"), &[])).err().unwrap();
        assert_eq!(error.reason, FailureReason::Tls);
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_authority_that_changes_on_disk_is_read_again() {
    let folder = Folder::new();
    let (first, second) = (Authority::new(), Authority::new());
    let served = secure(&second.issue(&["localhost"])).await;
    folder.write("ca.pem", &first.pem());
    let options = with(TlsOptions { ca: Some(SecretSource::File("ca.pem".into())), ..TlsOptions::default() });
    let client = HttpClient::new(&options, &context(folder.path(), &[])).unwrap();
    let address = url(&served, "localhost");
    assert_eq!(fetch(&client, &address).await.unwrap_err().reason, FailureReason::Tls);
    std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let error = fetch(&client, &address).await.unwrap_err();
    assert!(error.message.contains("tls_config.ca") && error.message.contains("ca.pem"), "{error}");
    folder.write("ca.pem", &second.pem());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    fetch(&client, &address).await.unwrap();
}

#[tokio::test]
async fn a_trace_tells_every_phase() {
    let authority = Authority::new();
    let served = secure(&authority.issue(&["localhost"])).await;
    let trace = Trace::default();
    let context = context(Path::new("/"), &[]).traced(trace.clone());
    let client = HttpClient::new(&with(trusting(&authority.pem())), &context).unwrap();
    fetch(&client, &url(&served, "localhost")).await.unwrap();
    let [exchange] = trace.exchanges().try_into().unwrap();
    assert!(exchange.dns.is_some() && exchange.connect.is_some() && exchange.tls_handshake.is_some());
    assert!(exchange.first_byte >= exchange.tls_handshake);
    assert_eq!(exchange.remote, Some(served.address));
    assert!(exchange.tls.unwrap().starts_with("TLSv1_3 "));
    assert_eq!(exchange.status.unwrap(), 200);
}
