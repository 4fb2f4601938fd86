//! How requests are made.

use metricsd_model::{HttpAuth, HttpOptions, Secret, SecretSource, TlsVersion};

use super::*;

fn http(yaml: &str) -> HttpOptions {
    job(yaml).scrape.options.http.clone()
}

fn inline(text: &str) -> Option<SecretSource> {
    Some(SecretSource::Inline(Secret::new(text)))
}

fn file(name: &str) -> Option<SecretSource> {
    Some(SecretSource::File(format!("/etc/prometheus/{name}")))
}

fn env(name: &str) -> Option<SecretSource> {
    Some(SecretSource::Env(name.to_owned()))
}

#[test]
fn basic_auth() {
    let check = |fields: &str, username, password| {
        assert_eq!(
            http(&format!("basic_auth: {{{fields}}}")).auth,
            Some(HttpAuth::Basic { username, password })
        );
    };
    check("username: u, password: 0123", inline("u"), inline("0123"));
    check("username: u, password_file: p", inline("u"), file("p"));
    check("username_file: u, password_env: P", file("u"), env("P"));
    check("username_env: U", env("U"), None);
}

#[test]
fn authorization_and_bearer_tokens() {
    let check = |yaml: &str, scheme: &str, credentials| {
        let expected = HttpAuth::Authorization { scheme: scheme.to_owned(), credentials };
        assert_eq!(http(yaml).auth, Some(expected), "{yaml}");
    };
    check("authorization: {credentials: c}", "Bearer", inline("c"));
    check("authorization: {type: Token, credentials_file: c}", "Token", file("c"));
    check("authorization: {credentials_env: C}", "Bearer", env("C"));
    check("bearer_token: t", "Bearer", inline("t"));
    check("bearer_token_file: /run/t", "Bearer", Some(SecretSource::File("/run/t".to_owned())));
}

#[test]
fn oauth2() {
    let yaml = "oauth2:\n  client_id: me\n  client_secret_file: s\n  token_url: https://auth.example/token\n  \
                scopes: [a, b]\n  endpoint_params: {audience: x}\n  tls_config: {insecure_skip_verify: true}\n  \
                proxy_url: http://proxy:3128";
    let Some(HttpAuth::Oauth2(oauth2)) = http(yaml).auth else { panic!() };
    assert_eq!((oauth2.client_id.as_str(), oauth2.token_url.as_str()), ("me", "https://auth.example/token"));
    assert_eq!(oauth2.client_secret, file("s"));
    assert_eq!(oauth2.scopes, ["a", "b"]);
    assert_eq!(oauth2.endpoint_params["audience"], SecretSource::Inline(Secret::new("x")));
    assert!(oauth2.tls.insecure_skip_verify);
    assert_eq!(oauth2.proxy.url, inline("http://proxy:3128"));
    let yaml = "oauth2: {client_id: me, client_secret: s, token_url: 'http://a/t'}";
    let Some(HttpAuth::Oauth2(oauth2)) = http(yaml).auth else { panic!() };
    assert_eq!(oauth2.client_secret, inline("s"));
}

#[test]
fn tls() {
    let tls = http(
        "tls_config: {ca_file: ca.pem, cert_file: c.pem, key_file: /k.pem, server_name: s, \
                    insecure_skip_verify: true, min_version: TLS12, max_version: TLS13}",
    )
    .tls;
    assert_eq!((tls.ca, tls.cert), (file("ca.pem"), file("c.pem")));
    assert_eq!(tls.key, Some(SecretSource::File("/k.pem".to_owned())));
    assert_eq!((tls.server_name.as_deref(), tls.insecure_skip_verify), (Some("s"), true));
    assert_eq!((tls.min_version, tls.max_version), (Some(TlsVersion::Tls12), Some(TlsVersion::Tls13)));
    let tls = http("tls_config:\n  ca: |\n    -----BEGIN\n    x\n  cert: c\n  key: k").tls;
    assert_eq!((tls.ca, tls.cert, tls.key), (inline("-----BEGIN\nx\n"), inline("c"), inline("k")));
}

#[test]
fn old_versions_of_tls_are_told() {
    let config = read(&job_text("tls_config: {min_version: TLS10}"));
    assert_eq!((config.notes.len(), config.unsupported.len()), (1, 0));
    let config = read(&job_text("tls_config: {max_version: TLS11}"));
    assert_eq!(
        lines(&config.unsupported),
        [
            "3:18: scrape_configs[0].tls_config.max_version: versions before TLS 1.2 are not spoken; such a server cannot be \
         reached"
        ]
    );
}

#[test]
fn proxies() {
    let proxy = http(
        "proxy_url: http://u:p@proxy:3128\nno_proxy: a.example,10.0.0.0/8\n\
                      proxy_connect_header: {X-A: [s, t]}",
    )
    .proxy;
    assert_eq!(
        (proxy.url, proxy.no_proxy.as_deref()),
        (inline("http://u:p@proxy:3128"), Some("a.example,10.0.0.0/8"))
    );
    assert_eq!(proxy.connect_headers["X-A"], [inline("s"), inline("t")].map(Option::unwrap));
    assert!(http("proxy_from_environment: true").proxy.from_environment);
}

#[test]
fn redirects_http2_and_headers() {
    let http = http(
        "follow_redirects: false\nenable_http2: false\n\
                     http_headers: {X-Tenant: {values: [a], secrets: [s], files: [f]}, X-Env: {env: [V]}}",
    );
    assert!(!http.follow_redirects && !http.enable_http2);
    let header = &http.headers["X-Tenant"];
    assert_eq!(header.values, ["a"]);
    assert_eq!(header.secrets, [inline("s"), file("f")].map(Option::unwrap));
    assert_eq!(http.headers["X-Env"].secrets, [env("V").unwrap()]);
}

#[test]
fn no_secret_shows() {
    let config = read(&job_text(
        "basic_auth: {username: u, password: hunter2}\nproxy_url: http://u:hunter2@p:1\nhttp_headers: {X: {secrets: [hunter2]}}",
    ));
    assert!(!format!("{config:?}").contains("hunter2"));
    for yaml in [
        "proxy_url: hunter2",
        "basic_auth: {password: [hunter2]}",
        "authorization: {type: basic, credentials: hunter2}",
        "http_headers: {X: {secrets: {hunter2: 1}}}",
    ] {
        let message = wrong(&job_text(yaml));
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn mistakes_of_requests() {
    let check = check_job_wrong;
    check(
        "basic_auth: {username: u, password: p, password_file: f}",
        "3:44: scrape_configs[0].basic_auth.password_file: password is set as well; leave one of them",
    );
    check(
        "basic_auth: {username: u}\nbearer_token: t",
        "4:5: scrape_configs[0].bearer_token: basic_auth is set as well; a request can say in one way only who we are",
    );
    check(
        "authorization: {type: Basic, credentials: c}",
        "3:21: scrape_configs[0].authorization.type: Basic needs a user and a password: use basic_auth",
    );
    check(
        "oauth2: {client_id: me}",
        "3:13: scrape_configs[0].oauth2.token_url: token_url is missing: it says where tokens are had",
    );
    check(
        "oauth2: {client_id: me, token_url: 'https://me:pw@auth.example/token'}",
        "3:29: scrape_configs[0].oauth2.token_url: it holds a user name or a password; client_id and client_secret are for these",
    );
    check(
        "tls_config: {cert_file: c}",
        "3:17: scrape_configs[0].tls_config: a certificate needs its key: set key or key_file",
    );
    check(
        "tls_config: {min_version: TLS13, max_version: TLS12}",
        "3:38: scrape_configs[0].tls_config.max_version: max_version is older than min_version",
    );
    check(
        "tls_config: {min_version: TLS9}",
        "3:31: scrape_configs[0].tls_config.min_version: \"TLS9\" is not a version; there are TLS10, TLS11, TLS12 and TLS13",
    );
    check(
        "no_proxy: a",
        "3:5: scrape_configs[0].no_proxy: proxy_url is missing; without a proxy there is nothing to leave out",
    );
    check(
        "proxy_url: http://p:1\nproxy_from_environment: true",
        "3:5: scrape_configs[0].proxy_url: proxy_from_environment is set as well; leave one of them",
    );
    check(
        "http_headers: {Authorization: {values: [a]}}",
        "3:20: scrape_configs[0].http_headers.Authorization: use basic_auth, authorization or oauth2 for this header",
    );
}
