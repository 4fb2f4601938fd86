//! A Pushgateway's protocol through the routes: what stands, what goes, and what is refused.

mod common;

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

/// A sink that may be away, or never answer.
struct Moody {
    store: Arc<MemoryStore>,
    mood: AtomicU8,
}

const THERE: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;

impl Moody {
    fn over(store: &Arc<MemoryStore>, mood: u8) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), mood: AtomicU8::new(mood) })
    }

    fn be(&self, mood: u8) {
        self.mood.store(mood, Ordering::Relaxed);
    }
}

#[async_trait]
impl SampleSink for Moody {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        match self.mood.load(Ordering::Relaxed) {
            THERE => self.store.append(batches).await,
            AWAY => Err(PortError::new(ErrorKind::Unavailable, "away")),
            _ => std::future::pending().await,
        }
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_group_no_longer_has_ends_though_the_store_was_away() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, THERE);
    let gateway = over(store, sink.clone(), GatewayOptions::default(), false, |_| {});
    gateway.push("PUT", "/metrics/job/j", "a 1\nb 2\n").await;
    sink.be(AWAY);
    assert_eq!(gateway.send("PUT", "/metrics/job/j", "a 3\n").await.status, 503);
    let groups = gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(groups[0]["families"].as_array().unwrap().len(), 2, "nothing was changed: {groups}");
    sink.be(THERE);
    gateway.push("PUT", "/metrics/job/j", "a 3\n").await;
    assert_eq!(gateway.found("j").await, [r#"{"__name__":"a"} 3"#]);
    sink.be(AWAY);
    assert_eq!(gateway.send("DELETE", "/metrics/job/j", "").await.status, 503);
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json().as_array().unwrap().len(), 1);
    sink.be(THERE);
    assert_eq!(gateway.send("DELETE", "/metrics/job/j", "").await.status, 202);
    assert_eq!(gateway.found("j").await, Vec::<String>::new());
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json(), json!([]));
}

#[tokio::test]
async fn a_lapsed_group_stays_while_the_store_is_away() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, THERE);
    let options = GatewayOptions { interval: Duration::from_millis(20), ..GatewayOptions::default() };
    let gateway = over(store, sink.clone(), options, false, |_| {});
    gateway.push("PUT", "/metrics/job/j?expire_after=1ms", "a 1\n").await;
    sink.be(AWAY);
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.gateway.clone().run(gateway.store.clone(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let groups = async || gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(groups().await.as_array().unwrap().len(), 1);
    sink.be(THERE);
    for _ in 0..200 {
        if groups().await == json!([]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!((groups().await, gateway.found("j").await), (json!([]), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_group_takes_no_place_of_others() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, SILENT);
    let one = |api: &mut Api| api.settings.max_concurrent_pushes = 1;
    let gateway = Arc::new(over(store, sink, GatewayOptions::default(), false, one));
    let waiting = gateway.clone();
    let waiting =
        tokio::spawn(async move { waiting.send("PUT", "/metrics/job/j", "a 1\n").await.status.as_u16() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = gateway.send("POST", "/api/v1/metrics/custom", "not json").await;
    assert_eq!((answer.status.as_u16(), waiting.is_finished()), (400, false));
    assert_eq!(waiting.await.unwrap(), 503);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_takes_none_of_other_large_pushes() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, SILENT);
    let one = |api: &mut Api| api.settings.max_concurrent_pushes = 1;
    let gateway = Arc::new(over(store, sink, GatewayOptions::default(), false, one));
    let large = "#".repeat(100 << 10);
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            // The first sixteen are at work; the others have large pages.
            let page = if number < 16 { "a 1\n".to_owned() } else { format!("{large}\na 1\n") };
            let gateway = gateway.clone();
            let uri = format!("/metrics/job/j{number}");
            tokio::spawn(async move { gateway.send("PUT", &uri, page).await.status.as_u16() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = gateway.send("POST", "/api/v1/metrics/custom", large.clone()).await;
    assert_eq!((answer.status.as_u16(), waiting.iter().any(|push| push.is_finished())), (400, false));
    for push in waiting {
        assert_eq!(push.await.unwrap(), 503);
    }
}

#[tokio::test(start_paused = true)]
async fn who_dribbles_takes_no_place_of_other_groups() {
    let gateway = Arc::new(pushed());
    for number in 0..40 {
        let gateway = gateway.clone();
        let body = stream::once(async { Ok::<_, std::io::Error>("a ") }).chain(stream::pending());
        let uri = format!("/metrics/job/j{number}");
        tokio::spawn(async move { gateway.send("PUT", &uri, Body::from_stream(body)).await });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let push = gateway.push("PUT", "/metrics/job/k", "a 1\n");
    tokio::time::timeout(Duration::from_secs(1), push).await.expect("there is a place");
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
