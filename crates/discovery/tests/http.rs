//! An address with a list that appears, changes, breaks and comes back.

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::{Run, context, serve, set};
use metricsd_discovery::config::HttpSd;
use metricsd_discovery::providers::HttpProvider;
use metricsd_model::{HttpAuth, HttpOptions, PromDuration, Secret, SecretSource};
use parking_lot::Mutex;

/// What the address answers: status, type and body; and the headers of the last question.
#[derive(Clone)]
struct Page(Arc<Mutex<(u16, &'static str, String)>>, Arc<Mutex<HeaderMap>>);

impl Page {
    fn new(body: &str) -> Self {
        Self(Arc::new(Mutex::new((200, "application/json", body.to_owned()))), Arc::default())
    }

    fn set(&self, status: u16, kind: &'static str, body: &str) {
        *self.0.lock() = (status, kind, body.to_owned());
    }

    fn router(&self) -> Router {
        let page = self.clone();
        Router::new().fallback(move |headers: HeaderMap| async move { page.answer(headers) })
    }

    fn answer(&self, headers: HeaderMap) -> Response {
        *self.1.lock() = headers;
        let (status, kind, body) = self.0.lock().clone();
        (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body).into_response()
    }
}

fn config(url: String) -> HttpSd {
    let auth = HttpAuth::Authorization {
        scheme: "Bearer".into(),
        credentials: Some(SecretSource::Inline(Secret::new("s3cret"))),
    };
    let http = HttpOptions { auth: Some(auth), ..HttpOptions::default() };
    HttpSd { url, refresh_interval: PromDuration(Duration::from_millis(500)), http }
}

#[tokio::test]
async fn a_list_appears_changes_breaks_and_comes_back() {
    let page = Page::new("[]");
    let server = serve(page.router()).await;
    let url = format!("http://{server}/sd?env=prod");
    let mut run = Run::start(HttpProvider::new(&config(url.clone()), &context()).unwrap());
    run.next().await;
    assert_eq!(run.targets(), []);
    let asked = page.1.lock().clone();
    assert_eq!(asked["x-prometheus-refresh-interval-seconds"], "0.5");
    assert_eq!(
        (&asked["authorization"], &asked["accept"]),
        (&"Bearer s3cret".parse().unwrap(), &"application/json".parse().unwrap())
    );

    page.set(200, "application/json; charset=utf-8", r#"[{"targets": ["a:1"], "labels": {"env": "x"}}]"#);
    run.until("found", |run| run.addresses() == set(&["a:1"])).await;
    let target = &run.targets()[0];
    assert_eq!((&target["env"], &target["__meta_url"]), (&"x".to_owned(), &url));

    for (status, kind, body, expected) in [
        (500, "application/json", "[]", "it answered 500 instead of 200"),
        (200, "text/html", "[]", "its Content-Type is \"text/html\" instead of application/json"),
        (200, "application/json", "[{\"targets\": 1}]", "it is not a list of groups"),
    ] {
        page.set(status, kind, body);
        run.until("broken", |run| run.error.as_ref().is_some_and(|error| error.contains(expected))).await;
        let error = run.error.clone().unwrap();
        assert!(
            error.starts_with(&format!("http://{server}/sd?…: ")) && !error.contains("s3cret"),
            "{error}"
        );
        assert_eq!(run.addresses(), set(&["a:1"]));
    }

    page.set(200, "application/json", r#"[{"targets": ["a:2"]}, {"targets": ["b:1"]}]"#);
    run.until("back", |run| run.error.is_none() && run.addresses() == set(&["a:2", "b:1"])).await;
    page.set(200, "application/json", "[]");
    run.until("gone", |run| run.addresses().is_empty()).await;
    run.stop().await;
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error() {
    let mut run = Run::start(HttpProvider::new(&config("http://127.0.0.1:1/sd".into()), &context()).unwrap());
    run.next().await;
    assert!(
        run.error.as_ref().is_some_and(|error| error.starts_with("http://127.0.0.1:1/sd: ")),
        "{:?}",
        run.error
    );
    run.stop().await;
}

#[test]
fn an_address_that_can_never_work_is_refused() {
    let error = HttpProvider::new(&config("ftp://h/x".into()), &context()).err().unwrap();
    assert_eq!(error, "ftp://h/x is not an http or https address");
}
