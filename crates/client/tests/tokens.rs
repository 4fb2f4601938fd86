//! OAuth 2.0 by client credentials.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::certificates::{Authority, server};
use common::{Server, context, fetch, header, inline, ok, serve, status};
use metricsd_client::HttpClient;
use metricsd_model::{FailureReason, HttpAuth, HttpOptions, Oauth2Options, Secret, SecretSource, TlsOptions};
use rustls::ALL_VERSIONS;

fn oauth2(token_url: String) -> Oauth2Options {
    Oauth2Options {
        client_id: "me&you".into(),
        client_secret: Some(inline("hunter2 %")),
        token_url,
        ..Oauth2Options::default()
    }
}

fn client(oauth2: Oauth2Options) -> HttpClient {
    let options = HttpOptions { auth: Some(HttpAuth::Oauth2(Box::new(oauth2))), ..HttpOptions::default() };
    HttpClient::new(&options, &context(Path::new("/"), &[])).unwrap()
}

/// Gives `token-1`, `token-2`, ...
async fn token_server(expires_in: &'static str) -> Server {
    let count = AtomicUsize::new(0);
    serve(None, move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        ok(&format!("{{\"access_token\":\"token-{number}\",\"token_type\":\"bearer\"{expires_in}}}"))
    })
    .await
}

#[tokio::test]
async fn many_scrapes_share_one_token() {
    let tokens = token_server(",\"expires_in\":3600").await;
    let target = serve(None, |_| ok("")).await;
    let mut options = oauth2(tokens.url("/token"));
    options.scopes = vec!["read".into(), "write".into()];
    options.endpoint_params = [("audience".to_owned(), SecretSource::Inline(Secret::new("metrics")))].into();
    let client = client(options);
    let scrapes = (0..50).map(|_| {
        let (client, url) = (client.clone(), target.url("/"));
        tokio::spawn(async move { fetch(&client, &url).await.unwrap() })
    });
    futures::future::join_all(scrapes).await.into_iter().for_each(|done| assert_eq!(done.unwrap().0, 200));
    assert_eq!((tokens.count(), target.count()), (1, 50));
    assert!(target.seen.lock().iter().all(|head| head.contains("authorization: Bearer token-1\r\n")));
    let request = tokens.last();
    assert!(request.starts_with("POST /token "), "{request}");
    assert!(
        request.ends_with("grant_type=client_credentials&scope=read+write&audience=metrics"),
        "{request}"
    );
    // base64 of me%26you:hunter2+%25
    assert_eq!(header(&request, "authorization").as_deref(), Some("Basic bWUlMjZ5b3U6aHVudGVyMislMjU="));
}

#[tokio::test]
async fn a_token_is_replaced_before_it_lapses_and_when_it_is_refused() {
    let tokens = token_server(",\"expires_in\":\"1\"").await;
    let target = serve(None, |_| ok("")).await;
    let short = client(oauth2(tokens.url("/")));
    fetch(&short, &target.url("/")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    fetch(&short, &target.url("/")).await.unwrap();
    assert_eq!(header(&target.last(), "authorization").as_deref(), Some("Bearer token-2"));

    let tokens = token_server("").await;
    let strict = serve(None, |head| match head.contains("token-2") {
        true => ok("in"),
        false => status("401 Unauthorized", ""),
    })
    .await;
    let client = client(oauth2(tokens.url("/")));
    assert_eq!(fetch(&client, &strict.url("/")).await.unwrap(), (200, "in".to_owned()));
    assert_eq!(fetch(&client, &strict.url("/")).await.unwrap().0, 200);
    assert_eq!(tokens.count(), 2);
    let never = serve(None, |_| status("401 Unauthorized", "")).await;
    assert_eq!(fetch(&client, &never.url("/")).await.unwrap().0, 401);
    assert_eq!((tokens.count(), never.count()), (3, 2), "one more try, not more");
}

#[tokio::test]
async fn credentials_go_into_the_body_where_the_server_wants_them_there() {
    let tokens = serve(None, |request| match request.contains("client_secret=hunter2+%25") {
        true => ok("{\"access_token\":\"t\"}"),
        false => status("401 Unauthorized", ""),
    })
    .await;
    let target = serve(None, |_| ok("")).await;
    fetch(&client(oauth2(tokens.url("/"))), &target.url("/")).await.unwrap();
    assert!(tokens.last().contains("client_id=me%26you") && !tokens.last().contains("Basic"));
    assert_eq!(header(&target.last(), "authorization").as_deref(), Some("Bearer t"));
}

#[tokio::test]
async fn a_token_server_that_fails_is_not_asked_by_everybody() {
    let answers = Arc::new(AtomicUsize::new(0));
    let count = answers.clone();
    let tokens = serve(None, move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => {
            let body = "{\"error\":\"invalid_client\",\"error_description\":\"who?\"}";
            format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        _ => ok("{\"access_token\":\"t\"}"),
    })
    .await;
    let target = serve(None, |_| ok("")).await;
    let client = client(oauth2(tokens.url("/token?secret=hunter2")));
    for _ in 0..20 {
        let error = fetch(&client, &target.url("/")).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Credentials, "{error}");
        assert!(
            error.message.contains("invalid_client: who?") && error.message.contains("/token"),
            "{error}"
        );
        assert!(!error.message.contains("hunter2"), "{error}");
    }
    assert_eq!((answers.load(Ordering::Relaxed), target.count()), (2, 0));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(fetch(&client, &target.url("/")).await.unwrap().0, 200);
    for (body, part) in [("nonsense", "JSON"), ("{}", "access_token")] {
        let tokens = serve(None, move |_| ok(body)).await;
        let error = fetch(&self::client(oauth2(tokens.url("/"))), &target.url("/")).await.unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_token_server_has_its_own_tls() {
    let authority = Authority::new();
    let config = server(&authority.issue(&["localhost"]), None, ALL_VERSIONS);
    let tokens = serve(Some(config), |_| ok("{\"access_token\":\"t\"}")).await;
    let target = serve(None, |_| ok("")).await;
    let url = format!("https://localhost:{}/", tokens.address.port());
    let error = fetch(&client(oauth2(url.clone())), &target.url("/")).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Tls, "{error}");
    let tls = TlsOptions { ca: Some(inline(&authority.pem())), ..TlsOptions::default() };
    fetch(&client(Oauth2Options { tls, ..oauth2(url) }), &target.url("/")).await.unwrap();
    assert!(target.last().contains("Bearer t"));
}
