//! Requests through proxies.

mod common;

use std::path::Path;

use common::certificates::{Authority, server};
use common::{context, fetch, header, inline, ok, proxy, serve};
use metricsd_client::{AddressPolicy, HttpClient, Trace};
use metricsd_model::{FailureReason, HttpAuth, HttpOptions, ProxyOptions, SecretSource, TlsOptions};
use rustls::ALL_VERSIONS;

fn through(url: &str) -> ProxyOptions {
    ProxyOptions { url: Some(inline(url)), ..ProxyOptions::default() }
}

fn client(proxy: ProxyOptions, tls: TlsOptions, environment: &[(&str, &str)]) -> HttpClient {
    let auth = Some(HttpAuth::Authorization { scheme: "Bearer".into(), credentials: Some(inline("t0ken")) });
    let options = HttpOptions { proxy, tls, auth, ..HttpOptions::default() };
    HttpClient::new(&options, &context(Path::new("/"), environment)).unwrap()
}

#[tokio::test]
async fn plain_requests_name_the_whole_address() {
    let relay = proxy("127.0.0.1:1".parse().unwrap(), None).await;
    let url = relay.url("").replace("http://", "http://me:p%40ss@");
    let plain = client(through(&url), TlsOptions::default(), &[]);
    assert_eq!(fetch(&plain, "http://node.example:9100/metrics").await.unwrap().1, "by the proxy");
    let head = relay.last();
    assert!(head.starts_with("GET http://node.example:9100/metrics HTTP/1.1\r\n"), "{head}");
    // base64 of me:p@ss
    assert_eq!(header(&head, "proxy-authorization").as_deref(), Some("Basic bWU6cEBzcw=="));
    assert_eq!(header(&head, "authorization").as_deref(), Some("Bearer t0ken"));
}

#[tokio::test]
async fn secure_requests_go_through_a_tunnel() {
    let authority = Authority::new();
    let pair = authority.issue(&["node.example", "127.0.0.1"]);
    let tls = TlsOptions { ca: Some(inline(&authority.pem())), ..TlsOptions::default() };
    let config = || server(&pair, None, ALL_VERSIONS);
    let target = serve(Some(config()), |_| ok("secret page")).await;
    for (scheme, secured) in [("http", None), ("https", Some(config()))] {
        let relay = proxy(target.address, secured).await;
        let url = format!("{scheme}://me:pass@{}", relay.address);
        let connect_headers = [("X-Tunnel".to_owned(), vec![inline("a"), inline("b")])].into();
        let options = ProxyOptions { connect_headers, ..through(&url) };
        let tunnelled = client(options, tls.clone(), &[]);
        assert_eq!(fetch(&tunnelled, "https://node.example/metrics").await.unwrap().1, "secret page");
        let head = relay.last();
        assert!(head.starts_with("CONNECT node.example:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-tunnel: a\r\n") && head.contains("x-tunnel: b\r\n"), "{head}");
        assert_eq!(header(&head, "proxy-authorization").as_deref(), Some("Basic bWU6cGFzcw=="));
        assert!(!head.contains("t0ken"), "the target's credentials are not the proxy's");
        assert!(!target.last().contains("x-tunnel") && !target.last().contains("proxy-authorization"));
        let error = fetch(&tunnelled, "https://forbidden.example/").await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Connect);
        assert!(error.message.contains("403") && !error.message.contains("pass@"), "{error}");
    }
}

#[tokio::test]
async fn some_hosts_are_reached_without_the_proxy() {
    let relay = proxy("127.0.0.1:1".parse().unwrap(), None).await;
    let target = serve(None, |_| ok("itself")).await;
    let all = client(through(&relay.url("")), TlsOptions::default(), &[]);
    assert_eq!(fetch(&all, &target.url("/")).await.unwrap().1, "by the proxy");
    let options = ProxyOptions { no_proxy: Some("10.0.0.0/8,.example".into()), ..through(&relay.url("")) };
    let some = client(options, TlsOptions::default(), &[]);
    assert_eq!(fetch(&some, &target.url("/")).await.unwrap().1, "itself", "this host needs no proxy");
    assert_eq!(fetch(&some, "http://other.test/").await.unwrap().1, "by the proxy");
    let error = fetch(&some, "http://no-such-host.example/").await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Dns, "{error}");
}

#[tokio::test]
async fn the_environment_names_proxies_where_it_is_asked() {
    let relay = proxy("127.0.0.1:1".parse().unwrap(), None).await;
    let address = relay.address.to_string();
    let environment = [("http_proxy", address.as_str()), ("NO_PROXY", "direct.invalid")];
    let options = ProxyOptions { from_environment: true, ..ProxyOptions::default() };
    let asked = client(options.clone(), TlsOptions::default(), &environment);
    assert_eq!(fetch(&asked, "http://node.test/").await.unwrap().1, "by the proxy");
    assert_eq!(fetch(&asked, "http://direct.invalid/").await.unwrap_err().reason, FailureReason::Dns);
    let unasked = client(ProxyOptions::default(), TlsOptions::default(), &environment);
    assert_eq!(fetch(&unasked, "http://node.invalid/").await.unwrap_err().reason, FailureReason::Dns);
    let both = HttpOptions {
        proxy: ProxyOptions { from_environment: true, ..through("http://a") },
        ..HttpOptions::default()
    };
    assert!(HttpClient::new(&both, &context(Path::new("/"), &[])).is_err());
}

#[tokio::test]
async fn proxies_lead_no_further_than_requests_may_go() {
    let relay = proxy("127.0.0.1:1".parse().unwrap(), None).await;
    let through_it = client(through(&relay.url("")), TlsOptions::default(), &[]);
    let error = fetch(&through_it, "http://169.254.169.254/latest/").await.unwrap_err();
    assert_eq!((error.reason, relay.count()), (FailureReason::Forbidden, 0));
    let metadata = client(through("http://169.254.169.254:80"), TlsOptions::default(), &[]);
    assert_eq!(fetch(&metadata, "http://a.test/").await.unwrap_err().reason, FailureReason::Forbidden);
    let mut closed = context(Path::new("/"), &[]);
    closed.guard = std::sync::Arc::new(AddressPolicy { close_private: true, ..AddressPolicy::default() });
    let options = HttpOptions { proxy: through(&relay.url("")), ..HttpOptions::default() };
    let closed = HttpClient::new(&options, &closed).unwrap();
    assert_eq!(fetch(&closed, "http://a.test/").await.unwrap_err().reason, FailureReason::Forbidden);
    let gone = client(through("http://127.0.0.1:1"), TlsOptions::default(), &[]);
    let error = fetch(&gone, "http://a.test/").await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Connect);
    assert!(error.message.contains("the proxy http://127.0.0.1:1"), "{error}");
    let socks = client(through("socks5://127.0.0.1:1"), TlsOptions::default(), &[]);
    assert!(fetch(&socks, "http://a.test/").await.unwrap_err().message.contains("socks5"));
}

/// A file or a variable may hold any secret: what stands in it is not told where it is of no use as an address either.
#[tokio::test]
async fn an_address_out_of_a_secret_is_not_told() {
    for text in
        ["http://hidden-proxy.invalid:3128", "http://127.0.0.1:1", "socks5://hidden", "hidden secret key"]
    {
        let proxy = ProxyOptions { url: Some(SecretSource::Env("PROXY".into())), ..ProxyOptions::default() };
        let options = HttpOptions { proxy, ..HttpOptions::default() };
        let trace = Trace::default();
        let context = context(Path::new("/"), &[("PROXY", text)]).traced(trace.clone());
        let client = HttpClient::new(&options, &context).unwrap();
        let error = fetch(&client, "http://node.test/metrics").await.unwrap_err();
        let told = format!("{error} {:?}", trace.exchanges());
        assert!(!told.contains("hidden") && !told.contains("127.0.0.1:1"), "{text}: {told}");
        assert!(error.message.contains("proxy"), "{error}");
    }
    let relay = proxy("127.0.0.1:1".parse().unwrap(), None).await;
    let url = SecretSource::Env("PROXY".into());
    let options = HttpOptions {
        proxy: ProxyOptions { url: Some(url), ..ProxyOptions::default() },
        ..HttpOptions::default()
    };
    let trace = Trace::default();
    let context = context(Path::new("/"), &[("PROXY", &relay.url(""))]).traced(trace.clone());
    let through_it = HttpClient::new(&options, &context).unwrap();
    assert_eq!(fetch(&through_it, "http://node.test/metrics").await.unwrap().1, "by the proxy");
    let [exchange] = trace.exchanges().try_into().unwrap();
    assert_eq!(exchange.proxy.as_deref(), Some(metricsd_model::MASK));
}
