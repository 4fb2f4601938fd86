//! Who we say we are, which headers go where, and where secrets come from.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{Folder, client, context, fetch, get, header, inline, ok, serve, status};
use metricsd_client::{Clients, HttpClient, SecretAccess};
use metricsd_model::{FailureReason, HeaderValues, HttpAuth, HttpOptions, SecretSource};

fn with(auth: HttpAuth) -> HttpOptions {
    HttpOptions { auth: Some(auth), ..HttpOptions::default() }
}

fn basic(password: SecretSource) -> HttpOptions {
    with(HttpAuth::Basic { username: Some(inline("me")), password: Some(password) })
}

#[tokio::test]
async fn credentials_are_sent_wherever_they_are_from() {
    let folder = Folder::new();
    let server = serve(None, |_| ok("a 1\n")).await;
    let context = context(folder.path(), &[("PASSWORD", "hunter2")]);
    let authorization =
        |scheme: &str, credentials| with(HttpAuth::Authorization { scheme: scheme.into(), credentials });
    // base64 of me:hunter2
    let expected = "Basic bWU6aHVudGVyMg==";
    for (options, expected) in [
        (basic(inline("hunter2")), expected),
        (basic(folder.write("password", "hunter2\n")), expected),
        (basic(SecretSource::Env("PASSWORD".into())), expected),
        (
            with(HttpAuth::Basic { username: Some(folder.write("user", " me ")), password: None }),
            "Basic bWU6",
        ),
        (authorization("Bearer", Some(inline("t0ken"))), "Bearer t0ken"),
        (authorization("Token", Some(folder.write("token", "abc"))), "Token abc"),
        (authorization("Negotiate", None), "Negotiate"),
    ] {
        let client = HttpClient::new(&options, &context).unwrap();
        assert_eq!(fetch(&client, &server.url("/metrics")).await.unwrap(), (200, "a 1\n".to_owned()));
        assert_eq!(header(&server.last(), "authorization").as_deref(), Some(expected));
    }
    let client = client(&HttpOptions::default());
    fetch(&client, &server.url("/").replace("http://", "http://me:hunter2@")).await.unwrap();
    assert_eq!(header(&server.last(), "authorization").as_deref(), Some(expected));
    assert!(header(&server.last(), "user-agent").unwrap().starts_with("metricsd/"));
}

#[tokio::test]
async fn a_password_file_is_read_again_when_it_changes() {
    let folder = Folder::new();
    let server = serve(None, |_| ok("")).await;
    let options = basic(SecretSource::File("password".into()));
    let client = HttpClient::new(&options, &context(folder.path(), &[])).unwrap();
    let error = fetch(&client, &server.url("/")).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Credentials);
    assert!(
        error.message.contains("basic_auth.password") && error.message.contains("No such file"),
        "{error}"
    );
    let mut sent = Vec::new();
    for password in ["one", "two", "six"] {
        folder.write("password", password);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        fetch(&client, &server.url("/")).await.unwrap();
        sent.push(header(&server.last(), "authorization").unwrap());
    }
    assert_eq!(sent, ["Basic bWU6b25l", "Basic bWU6dHdv", "Basic bWU6c2l4"]);
    std::fs::remove_file(folder.path().join("password")).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(fetch(&client, &server.url("/")).await.unwrap_err().reason, FailureReason::Credentials);
}

#[tokio::test]
async fn further_headers_are_sent_and_reserved_ones_refused() {
    let server = serve(None, |_| ok("")).await;
    let values = HeaderValues { values: vec!["one".into(), "two".into()], secrets: vec![inline("hunter2")] };
    let options =
        HttpOptions { headers: [("X-Scope".to_owned(), values.clone())].into(), ..HttpOptions::default() };
    fetch(&client(&options), &server.url("/")).await.unwrap();
    let head = server.last();
    let sent: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("x-scope: ")).collect();
    assert_eq!(sent, ["one", "two", "hunter2"]);
    for name in ["Authorization", "host", "Content-Length", "bad name"] {
        let options =
            HttpOptions { headers: [(name.to_owned(), values.clone())].into(), ..HttpOptions::default() };
        let error = HttpClient::new(&options, &context(Path::new("/"), &[])).err().unwrap();
        assert_eq!(error.reason, FailureReason::Credentials, "{name}");
        assert!(error.message.contains("http_headers") && !error.message.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn nothing_secret_goes_to_another_origin_nor_back_from_there() {
    let last = serve(None, |_| ok("there")).await;
    let to = last.url("/there");
    let first = serve(None, move |head| match head.split(' ').nth(1) {
        Some("/start") => status("302 Found", "Location: /second\r\n"),
        Some("/second") => status("307 Temporary Redirect", &format!("Location: {to}\r\n")),
        _ => ok(""),
    })
    .await;
    let headers =
        [("X-Key".to_owned(), HeaderValues { values: vec!["k1".into()], secrets: vec![inline("k2")] })];
    let options = HttpOptions { headers: headers.into(), ..basic(inline("hunter2")) };
    assert_eq!(fetch(&client(&options), &first.url("/start")).await.unwrap().1, "there");
    assert!(
        first.seen.lock().iter().all(|head| head.contains("authorization") && head.contains("x-key: k2"))
    );
    assert_eq!(first.count(), 2);
    let head = last.last();
    assert!(!head.contains("authorization") && !head.contains("x-key"), "{head}");

    let home = first.url("/end");
    let away = serve(None, move |_| status("302 Found", &format!("Location: {home}\r\n"))).await;
    let back = away.url("/");
    let start = serve(None, move |_| status("302 Found", &format!("Location: {back}\r\n"))).await;
    fetch(&client(&basic(inline("hunter2"))), &start.url("/")).await.unwrap();
    assert!(!first.last().contains("authorization"), "a third origin gets nothing either");
}

#[tokio::test]
async fn redirects_are_followed_unless_told_otherwise_and_not_for_ever() {
    let server = serve(None, |_| status("302 Found", "Location: /again\r\n")).await;
    let error = fetch(&client(&HttpOptions::default()), &server.url("/")).await.unwrap_err();
    assert_eq!((error.reason, server.count()), (FailureReason::Redirect, 11), "{error}");
    let stay = HttpOptions { follow_redirects: false, ..HttpOptions::default() };
    assert_eq!(get(&client(&stay), &server.url("/")).await.unwrap().status, 302);
}

#[tokio::test]
async fn confined_settings_read_what_they_may_and_nothing_else() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    folder.write("outside", "hunter2");
    folder.write("secrets/good", "good");
    std::os::unix::fs::symlink("good", folder.path().join("secrets/link")).unwrap();
    std::os::unix::fs::symlink("../outside", folder.path().join("secrets/escape")).unwrap();
    let server = serve(None, |_| ok("")).await;
    let everything = context(folder.path(), &[("METRICSD_SECRET_A", "a"), ("HOME", "hunter2")]);
    let secrets = folder.path().join("secrets");
    let confined = everything.confined(Some(secrets.clone()), "METRICSD_SECRET_");
    let file = |name: &str| SecretSource::File(name.to_owned());
    let whole = |name: &str| file(&secrets.join(name).to_string_lossy());
    let fetch_with = async |context: &metricsd_client::Context, source: SecretSource| {
        fetch(&HttpClient::new(&basic(source), context).unwrap(), &server.url("/")).await
    };
    for good in [file("good"), file("link"), whole("good"), SecretSource::Env("METRICSD_SECRET_A".into())] {
        fetch_with(&confined, good).await.unwrap();
    }
    // The operator has read it: that others may not is not forgotten for it.
    fetch_with(&everything, file("outside")).await.unwrap();
    fetch_with(&everything, whole("escape")).await.unwrap();
    let before = server.count();
    let env = |name: &str| SecretSource::Env(name.into());
    for bad in
        [file("../outside"), file("/etc/passwd"), file("escape"), whole("../outside"), env("HOME"), env("X")]
    {
        let error = fetch_with(&confined, bad.clone()).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Credentials, "{bad:?}");
        assert!(!error.message.contains("hunter2"));
    }
    let nowhere = everything.confined(None, "METRICSD_SECRET_");
    let error = fetch_with(&nowhere, file("good")).await.unwrap_err();
    assert!(error.message.contains("scrape.secrets_dir"), "{error}");
    let sealed = fetch_with(&everything, SecretSource::Sealed("v1:x".into())).await.unwrap_err();
    assert_eq!(sealed.reason, FailureReason::Credentials);
    assert_eq!(server.count(), before, "nothing was sent");
}

#[tokio::test]
async fn those_with_the_same_settings_share_connections() {
    let server = serve(None, |_| ok("")).await;
    let clients = Clients::new(context(Path::new("/"), &[]));
    let operator = SecretAccess::Operator { base_dir: "/".into() };
    let confined = SecretAccess::Confined { directory: None, env_prefix: "METRICSD_SECRET_".into() };
    let options = basic(SecretSource::File("/etc/hostname".into()));
    fetch(&clients.client(&options, &operator).unwrap(), &server.url("/")).await.unwrap();
    fetch(&clients.client(&options.clone(), &operator).unwrap(), &server.url("/")).await.unwrap();
    let refused = fetch(&clients.client(&options, &confined).unwrap(), &server.url("/")).await.unwrap_err();
    assert_eq!(refused.reason, FailureReason::Credentials);
    let broken = HttpOptions {
        headers: BTreeMap::from([("host".to_owned(), HeaderValues::default())]),
        ..HttpOptions::default()
    };
    assert!(clients.client(&broken, &operator).is_err());
}
