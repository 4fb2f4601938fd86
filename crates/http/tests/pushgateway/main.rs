//! A Pushgateway's protocol through the routes: what stands, what goes, and what is refused.

#[path = "../common/mod.rs"]
mod common;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use futures::{StreamExt, stream};
use metricsd_codec::metric_family::message;
use metricsd_http::{Api, GatewayAccess};
use metricsd_ingest::{Access, AccessMetrics, AccessOptions, Door, Limits};
use metricsd_listeners::gateway::{Gateway, GatewayOptions};
use metricsd_model::{Batch, Matcher, Secret};
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{ErrorKind, PortError, Receipt, SampleSink, SampleSource, SelectLimits, Selection};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct Pushed {
    service: Service,
    store: Arc<MemoryStore>,
    gateway: Gateway,
}

fn with(options: GatewayOptions, admin: bool) -> Pushed {
    let store = Arc::new(MemoryStore::new());
    over(store.clone(), store, options, admin, |_| {})
}

/// A gateway whose samples go elsewhere than its groups.
fn over(
    store: Arc<MemoryStore>,
    sink: Arc<dyn SampleSink>,
    options: GatewayOptions,
    admin: bool,
    change: impl FnOnce(&mut Api),
) -> Pushed {
    let mut made = None;
    let service = Service::over(store.clone(), sink, Limits::default(), |api| {
        change(api);
        let ingest = api.ingest.clone().unwrap();
        let gateway = Gateway::new(store.clone(), ingest, options, &mut Registry::default());
        made = Some(gateway.clone());
        api.lines.gateway = Some(GatewayAccess { gateway, admin });
    });
    Pushed { service, store, gateway: made.unwrap() }
}

fn pushed() -> Pushed {
    with(GatewayOptions::default(), false)
}

impl Pushed {
    async fn send(&self, method: &str, uri: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
        self.service.send(request).await
    }

    async fn push(&self, method: &str, uri: &str, body: &str) {
        let answer = self.send(method, uri, body.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    }

    async fn refused(&self, method: &str, uri: &str, body: &str, message: &str) {
        let answer = self.send(method, uri, body.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.text().trim_end()), (400, message));
    }

    /// Series of a job, times left out, as `{labels} value`.
    async fn found(&self, job: &str) -> Vec<String> {
        let selector = format!("%7Bjob=%22{job}%22,__name__!~%22push_.%2B%22%7D");
        // What is pushed in one millisecond is asked for in another.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.query(&selector).await
    }

    async fn query(&self, query: &str) -> Vec<String> {
        let answer = self.service.get(&format!("/api/v1/metrics/query?query={query}")).await.json();
        let entry = |entry: &Value| {
            let mut labels = entry["metric"].clone();
            labels.as_object_mut().unwrap().remove("job");
            format!("{labels} {}", entry["value"][1].as_str().unwrap())
        };
        let mut found: Vec<String> = answer["result"].as_array().unwrap().iter().map(entry).collect();
        found.sort();
        found
    }
}

#[tokio::test]
async fn put_replaces_and_post_merges_and_delete_removes() {
    let gateway = pushed();
    gateway
        .push("PUT", "/metrics/job/j", "# TYPE a counter\na{x=\"1\",job=\"own\"} 1\na{x=\"2\"} 2\nb 3\n")
        .await;
    assert_eq!(
        gateway.found("j").await,
        [r#"{"__name__":"a","x":"1"} 1"#, r#"{"__name__":"a","x":"2"} 2"#, r#"{"__name__":"b"} 3"#,]
    );
    gateway.push("POST", "/metrics/job/j", "# TYPE a counter\na{x=\"1\"} 5\nc 4\n").await;
    assert_eq!(
        gateway.found("j").await,
        [r#"{"__name__":"a","x":"1"} 5"#, r#"{"__name__":"b"} 3"#, r#"{"__name__":"c"} 4"#,]
    );
    gateway.push("PUT", "/metrics/job/j/instance/i", "b 7\n").await;
    gateway.push("PUT", "/metrics/job/j", "c 6\n").await;
    assert_eq!(gateway.found("j").await, [r#"{"__name__":"b","instance":"i"} 7"#, r#"{"__name__":"c"} 6"#]);
    gateway.push("POST", "/metrics/job/j", "").await;
    assert_eq!(gateway.found("j").await.len(), 2, "an empty POST changes nothing");
    gateway.push("PUT", "/metrics/job/j", "").await;
    assert_eq!(gateway.found("j").await, [r#"{"__name__":"b","instance":"i"} 7"#]);
    for uri in ["/metrics/job/j/instance/i", "/metrics/job/j", "/metrics/job/never"] {
        assert_eq!(gateway.send("DELETE", uri, "").await.status, 202, "{uri}");
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(gateway.query("%7Bjob=%22j%22%7D").await, Vec::<String>::new(), "the times have gone too");
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json(), json!([]));
}

#[tokio::test]
async fn times_of_pushes_are_series() {
    let gateway = pushed();
    gateway.push("PUT", "/metrics/job/j/path@base64/L3Zhci90bXA", "a 1\npush_time_seconds 5\n").await;
    let first = gateway.query("push_time_seconds").await;
    assert!(first[0].starts_with(r#"{"__name__":"push_time_seconds","path":"/var/tmp"} 1"#), "{first:?}");
    assert_eq!(gateway.query("push_failure_time_seconds").await.len(), 1);
    assert!(gateway.query("push_failure_time_seconds").await[0].ends_with("} 0"));
    gateway
        .refused(
            "PUT",
            "/metrics/job/j/path@base64/L3Zhci90bXA",
            "a 2 1000\n",
            "line 1: pushed metrics must not have timestamps",
        )
        .await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!gateway.query("push_failure_time_seconds").await[0].ends_with("} 0"));
    assert_eq!(gateway.query("push_time_seconds").await, first);
    assert_eq!(
        gateway.found("j").await,
        [r#"{"__name__":"a","path":"/var/tmp"} 1"#],
        "nothing else was changed"
    );
    let groups = gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(groups[0]["last_push_successful"], false);
    assert_eq!(groups[0]["labels"], json!({"job": "j", "path": "/var/tmp"}));
}

#[tokio::test]
async fn bad_pushes_change_nothing() {
    let gateway = pushed();
    gateway.push("PUT", "/metrics/job/a", "# TYPE x counter\nx 1\n").await;
    let message =
        "pushed metrics are inconsistent with those of other groups: x is a gauge here and a counter there";
    gateway.refused("PUT", "/metrics/job/b", "# TYPE x gauge\nx 1\n", message).await;
    gateway.push("PUT", "/metrics/job/b", "# HELP x Other.\n# TYPE x counter\nx 2\n").await;
    gateway.push("PUT", "/metrics/job/a", "# TYPE x counter\nx 3\n").await;
    gateway
        .refused("PUT", "/metrics/job/a", "x 1\nx 2\n", "line 2: the series comes twice in one push")
        .await;
    gateway.refused("PUT", "/metrics/job/a/l", "x 1\n", "the address has a label without a value").await;
    let answer = gateway.send("PUT", "/metrics/job/a", "not metrics").await;
    assert_eq!(answer.status, 400);
    let long = format!("{} 1\n", "x".repeat(300));
    assert_eq!(gateway.send("PUT", "/metrics/job/a", long).await.status, 400, "the door would refuse it");
    assert_eq!(gateway.send("PUT", "/metrics/job/a?expire_after=soon", "x 1\n").await.status, 400);
    assert_eq!(gateway.found("a").await, [r#"{"__name__":"x"} 3"#]);
    assert_eq!(gateway.found("b").await, [r#"{"__name__":"x"} 2"#]);
    assert_eq!(
        Service::new().send(Request::put("/metrics/job/a").body(Body::empty()).unwrap()).await.status,
        404
    );
}

#[tokio::test]
async fn protobuf_and_open_metrics_are_taken() {
    let gateway = pushed();
    let family = message::MetricFamily {
        name: "p".to_owned(),
        r#type: 1,
        metric: vec![message::Metric {
            gauge: Some(message::Value { value: 4.5 }),
            ..message::Metric::default()
        }],
        ..message::MetricFamily::default()
    };
    let send = async |kind: &str, body: Vec<u8>| {
        let request = Request::post("/metrics/job/j").header("content-type", kind).body(Body::from(body));
        gateway.service.send(request.unwrap()).await.status.as_u16()
    };
    let protobuf =
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    assert_eq!(send(protobuf, message::page(&[family])).await, 200);
    assert_eq!(send(protobuf, vec![200, 1]).await, 400);
    assert_eq!(
        send("application/openmetrics-text; version=1.0.0", b"# TYPE o counter\no_total 2\n# EOF\n".to_vec())
            .await,
        200
    );
    assert_eq!(send("application/openmetrics-text", b"o_total 2\n".to_vec()).await, 400, "there is no end");
    assert_eq!(send("application/x-www-form-urlencoded", b"t 1\n".to_vec()).await, 200);
    assert_eq!(
        gateway.found("j").await,
        [r#"{"__name__":"o_total"} 2"#, r#"{"__name__":"p"} 4.5"#, r#"{"__name__":"t"} 1"#,]
    );
}

#[tokio::test]
async fn exemplars_are_stored_once_with_the_push_that_brings_them() {
    let gateway =
        with(GatewayOptions { interval: Duration::from_millis(50), ..GatewayOptions::default() }, false);
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.gateway.clone().run(gateway.store.clone(), stop.clone()));
    let exemplars = async || {
        let limits = SelectLimits { max_series: 10, max_samples: 100 };
        let matchers = vec![Matcher::equal("__name__", "o_total")];
        let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
        let found = gateway.store.exemplars(&selection).await.unwrap();
        let all = found.into_iter().flat_map(|series| series.exemplars);
        all.map(|exemplar| (exemplar.labels.get("trace_id").map(str::to_owned), exemplar.value))
            .collect::<Vec<_>>()
    };
    let push = async |uri: &str, page: String| {
        let request =
            Request::post(uri).header("content-type", "application/openmetrics-text; version=1.0.0");
        assert_eq!(gateway.service.send(request.body(Body::from(page)).unwrap()).await.status.as_u16(), 200);
    };
    let page = |trace: &str| format!("# TYPE o counter\no_total 2 # {{trace_id=\"{trace}\"}} 0.5\n# EOF\n");
    push("/metrics/job/j", page("a")).await;
    assert_eq!(exemplars().await, [(Some("a".to_owned()), 0.5)]);
    // Neither when the group is sampled nor with another push of it.
    let sampled = async || gateway.query("count_over_time(o_total[1m])").await.pop().unwrap_or_default();
    for _ in 0..200 {
        if sampled()
            .await
            .rsplit(' ')
            .next()
            .is_some_and(|count| count.parse::<f64>().is_ok_and(|n| n >= 4.0))
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_ne!(sampled().await, "{} 1", "it is sampled");
    push("/metrics/job/j", "# TYPE other gauge\nother 1\n# EOF\n".to_owned()).await;
    assert_eq!(exemplars().await.len(), 1);
    push("/metrics/job/j", page("b")).await;
    assert_eq!(exemplars().await, [(Some("a".to_owned()), 0.5), (Some("b".to_owned()), 0.5)]);
    assert_eq!(gateway.query("o_total").await, [r#"{"__name__":"o_total"} 2"#]);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn groups_are_bounded() {
    let gateway = with(GatewayOptions { max_groups: 2, max_series: 3, ..GatewayOptions::default() }, false);
    gateway.push("PUT", "/metrics/job/a", "a 1\n").await;
    gateway.push("PUT", "/metrics/job/b", "a 1\n").await;
    let message = "pushed groups would hold 3 groups, more than pushgateway.max_groups = 2";
    gateway.refused("PUT", "/metrics/job/c", "a 1\n", message).await;
    let message = "pushed groups would hold 4 series, more than pushgateway.max_series = 3";
    gateway.refused("POST", "/metrics/job/b", "b 1\nc 1\n", message).await;
    gateway.push("PUT", "/metrics/job/b", "b 1\nc 1\n").await;
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn groups_are_shown_in_both_shapes_and_wiped_by_option() {
    let gateway = with(GatewayOptions::default(), true);
    gateway
        .push(
            "PUT",
            "/metrics/job/a?expire_after=1h",
            "# HELP s Help.\n# TYPE s summary\ns_sum 5\ns_count 2\n",
        )
        .await;
    let groups = gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(
        groups[0]["families"],
        json!([{"name": "s", "type": "summary", "help": "Help.", "series": 2}])
    );
    assert!(groups[0]["expires_at"].as_str() > groups[0]["pushed_at"].as_str(), "{groups}");
    let shown = gateway.service.get("/api/v1/pushgateway/metrics").await.json();
    let group = &shown["data"][0];
    assert_eq!((&group["labels"], &group["s"]["type"]), (&json!({"job": "a"}), &json!("SUMMARY")));
    assert_eq!(group["s"]["metrics"][0], json!({"labels": {"__name__": "s_sum", "job": "a"}, "value": "5"}));
    assert_eq!(group["last_push_successful"], true);
    assert_eq!(gateway.send("PUT", "/api/v1/admin/wipe", "").await.status, 202);
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json(), json!([]));
    let closed = pushed();
    closed.push("PUT", "/metrics/job/a", "a 1\n").await;
    let refused = closed.send("PUT", "/api/v1/admin/wipe", "").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("pushgateway.admin allows it"), "{}", refused.text());
    assert_eq!(closed.found("a").await.len(), 1);
}

#[tokio::test]
async fn groups_are_sampled_again_and_expire() {
    let options = GatewayOptions { interval: Duration::from_millis(50), ..GatewayOptions::default() };
    let gateway = with(options, false);
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.gateway.clone().run(gateway.store.clone(), stop.clone()));
    gateway.push("PUT", "/metrics/job/stays", "a 1\n").await;
    let request = Request::put("/metrics/job/goes").header("x-expire-after", "300ms");
    let answer = gateway.service.send(request.body(Body::from("a 2\n")).unwrap()).await;
    assert_eq!(answer.status, 200);
    let wait = async |what: &str, query: &str, expected: fn(f64) -> bool| {
        for _ in 0..100 {
            let found = gateway.query(query).await;
            let value = found.first().map_or(0.0, |found| found.rsplit(' ').next().unwrap().parse().unwrap());
            if expected(value) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what} did not happen");
    };
    wait("sampling again", "count_over_time(a%7Bjob=%22stays%22%7D[1m])", |count| count >= 4.0).await;
    wait("going", "count(a%7Bjob=%22goes%22%7D)", |count| count == 0.0).await;
    assert_eq!(gateway.found("stays").await, [r#"{"__name__":"a"} 1"#]);
    let groups = gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_group_is_changed_by_one_after_another() {
    let gateway = Arc::new(pushed());
    let pushes = (0..20).map(|number| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            gateway.push("POST", "/metrics/job/j", &format!("m{number} {number}\n")).await;
        })
    });
    for push in pushes.collect::<Vec<_>>() {
        push.await.unwrap();
    }
    assert_eq!(gateway.found("j").await.len(), 20, "no push was lost");
}

#[tokio::test]
async fn quotas_hold_before_a_group_is_changed() {
    let store = Arc::new(MemoryStore::new());
    let options =
        AccessOptions { bootstrap: Some(Secret::new("bootstrap-of-the-tests")), ..AccessOptions::default() };
    let access = Access::new(store.clone(), options, AccessMetrics::default());
    access.refresh().await.unwrap();
    let guard = |api: &mut Api| (api.access, api.door) = (access, Door::Elsewhere);
    let gateway = over(store.clone(), store, GatewayOptions::default(), false, guard);
    let send = async |token: &str, method: &str, uri: &str, body: String| {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from(body));
        gateway.service.send(request.unwrap()).await
    };
    let asked = json!({"name": "p", "rights": ["push", "read"], "quota": {"active_series": 3}});
    let made =
        send("bootstrap-of-the-tests", "POST", "/api/v1/metrics/tokens", asked.to_string()).await.json();
    let token = made["token"].as_str().unwrap();
    // The group's own series and the two of its times.
    assert_eq!(send(token, "PUT", "/metrics/job/j", "a 1\n".to_owned()).await.status, 200);
    let refused = send(token, "PUT", "/metrics/job/k", "a 1\nb 1\n".to_owned()).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.text().contains("active_series"), "{}", refused.text());
    let groups = send(token, "GET", "/api/v1/metrics/groups", String::new()).await.json();
    assert_eq!(groups.as_array().unwrap().len(), 1, "{groups}");
}
