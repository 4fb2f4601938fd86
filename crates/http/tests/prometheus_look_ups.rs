//! Look-ups, exemplars, metadata and native histograms through Prometheus' HTTP API.

mod common;

use std::sync::Arc;

use common::Service;
use metricsd_model::{
    Batch, Exemplar, Frame, LabelSet, Layout, MetricType, Millis, NativeHistogram, Series, SeriesExemplar,
    Span,
};
use metricsd_ports::SampleSink;
use metricsd_ports::conformance::fixtures::{batch, frame, put_histogram, series};
use serde_json::{Value, json};

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis() / 1_000 * 1_000
}

async fn with_metrics() -> Service {
    let service = Service::new();
    let item = |name: &str, labels: Value| json!({"name": name, "value": 1, "metric_type": "COUNTER", "help_text": format!("About {name}"), "labels": labels});
    let body = json!([
        item("orders_total", json!({"shop": "a", "till": "1"})),
        item("orders_total", json!({"shop": "b", "till": "2"})),
        item("visits_total", json!({"shop": "a", "http.method": "GET"})),
        {"name": "temperature", "value": 1, "labels": {"room": "x"}}
    ]);
    assert_eq!(service.call("POST", "/api/v1/metrics/custom", &body).await.json()["accepted"], 4);
    service
}

async fn data(service: &Service, uri: &str) -> (Value, Value) {
    let answer = service.get(&format!("/api/v1/{uri}")).await;
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    let mut body = answer.json();
    (body["data"].take(), body["warnings"].take())
}

const TRUNCATED: &str = "results truncated due to limit";

#[tokio::test]
async fn names_and_values_are_looked_up() {
    let service = with_metrics().await;
    for (uri, expected) in [
        ("labels", json!(["__name__", "http.method", "room", "shop", "till"])),
        ("labels?match[]=orders_total", json!(["__name__", "shop", "till"])),
        ("labels?match[]=orders_total&match[]=temperature", json!(["__name__", "room", "shop", "till"])),
        ("labels?match[]=none", json!([])),
        ("label/__name__/values", json!(["orders_total", "temperature", "visits_total"])),
        ("label/shop/values", json!(["a", "b"])),
        ("label/shop/values?match[]=visits_total", json!(["a"])),
        ("label/shop/values?match[]=visits_total&match[]=orders_total", json!(["a", "b"])),
        ("label/none/values", json!([])),
        ("label/http.method/values", json!(["GET"])),
        ("label/U__http_2e_method/values", json!(["GET"])),
        ("label/a%2Fb/values", json!([])),
        (
            "label/shop/values?start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z",
            json!(["a", "b"]),
        ),
    ] {
        assert_eq!(data(&service, uri).await, (expected, Value::Null), "{uri}");
    }
    for (uri, expected) in [
        ("labels?limit=2", json!(["__name__", "http.method"])),
        ("label/shop/values?limit=1", json!(["a"])),
        ("label/shop/values?limit=1&match[]=visits_total&match[]=orders_total", json!(["a"])),
    ] {
        assert_eq!(data(&service, uri).await, (expected, json!([TRUNCATED])), "{uri}");
    }
    assert_eq!(data(&service, "label/shop/values?limit=2").await.1, Value::Null);
}

#[tokio::test]
async fn series_are_looked_up() {
    let service = with_metrics().await;
    let orders = |shop: &str, till: &str| json!({"__name__": "orders_total", "shop": shop, "till": till});
    let visits = json!({"__name__": "visits_total", "http.method": "GET", "shop": "a"});
    let uri = "series?match[]=orders_total&match[]=%7Bshop%3D%22a%22%7D";
    let all = json!([orders("a", "1"), orders("b", "2"), visits]);
    assert_eq!(data(&service, uri).await, (all, Value::Null));
    let (cut, warnings) = data(&service, &format!("{uri}&limit=2")).await;
    assert_eq!((cut, warnings), (json!([orders("a", "1"), orders("b", "2")]), json!([TRUNCATED])));
    assert_eq!(data(&service, "series?match[]=none").await.0, json!([]));
}

#[tokio::test]
async fn wrong_look_ups_are_explained() {
    let service = with_metrics().await;
    for (uri, message) in [
        ("label/%ff/values", "invalid label name"),
        ("label/a%00b/values", "invalid label name"),
        ("label/U__/values", "invalid label name"),
        ("labels?match[]=%7B", "invalid parameter \"match[]\": 1:2: parse error"),
        ("labels?match[]=rate(up)", "invalid parameter \"match[]\": 1:"),
        ("labels?match[]=%7Ba%3D~%22.*%22%7D", "non-empty matcher"),
        ("labels?start=x", "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\""),
        ("labels?end=x", "invalid parameter \"end\": invalid time value for 'end': cannot parse \"x\""),
        ("labels?limit=x", "invalid parameter \"limit\""),
        ("series?match[]=a&limit=-1", "limit must be non-negative"),
        ("metadata?limit=x", "limit must be a number"),
        ("metadata?limit_per_metric=x", "limit_per_metric must be a number"),
    ] {
        let answer = service.get(&format!("/api/v1/{uri}")).await;
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), &body["errorType"]), (400, &json!("bad_data")), "{uri}: {body}");
        assert!(body["error"].as_str().unwrap().contains(message), "{uri}: {body}");
    }
    let many = "match[]=a&".repeat(101);
    assert_eq!(service.get(&format!("/api/v1/labels?{many}")).await.status, 400);
}

#[tokio::test]
async fn metadata_is_what_senders_said() {
    let service = with_metrics().await;
    let said = |name: &str| json!([{"type": "counter", "help": format!("About {name}"), "unit": ""}]);
    let all = json!({"orders_total": said("orders_total"), "visits_total": said("visits_total")});
    assert_eq!(data(&service, "metadata").await.0, all);
    assert_eq!(data(&service, "metadata?limit_per_metric=1").await.0, all);
    let one = json!({"visits_total": said("visits_total")});
    assert_eq!(data(&service, "metadata?metric=visits_total").await.0, one);
    assert_eq!(data(&service, "metadata?limit=1").await.0, json!({"orders_total": said("orders_total")}));
    assert_eq!(data(&service, "metadata?metric=none").await.0, json!({}));
    assert_eq!(data(&service, "metadata?limit=0").await.0, json!({}));
}

#[tokio::test]
async fn metadata_of_targets_is_what_their_newest_pages_said() {
    let service = Service::new();
    service.create(&common::request()).await;
    let said = |name: &str, metric_type| {
        let labels = [("job", "node"), ("instance", "127.0.0.1:9100")];
        let help = Some(format!("About {name}").into());
        Arc::new(Series { metric_type, help, ..Series::clone(&series(name, &labels)) })
    };
    let columns = vec![
        said("latency_seconds_bucket", MetricType::Histogram),
        said("latency_seconds_count", MetricType::Histogram),
        said("load", MetricType::Gauge),
    ];
    let layout = Layout::shared(columns);
    let stored = batch("node-1", "1", vec![frame(&layout, now() - 60_000, &[1.0, 1.0, 0.5])]);
    service.store.append(&[stored]).await.unwrap();
    let target = json!({"instance": "127.0.0.1:9100", "job": "node"});
    let load = json!({"target": target, "metric": "load", "type": "gauge", "help": "About load", "unit": ""});
    let (all, _) = data(&service, "targets/metadata?match_target=%7Bjob%3D%22node%22%7D").await;
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
    assert_eq!((&all[0]["metric"], &all[0]["type"]), (&json!("latency_seconds"), &json!("histogram")));
    assert_eq!(all[1], load);
    let one = json!([{"target": target, "type": "gauge", "help": "About load", "unit": ""}]);
    assert_eq!(data(&service, "targets/metadata?metric=load").await.0, one);
    for uri in ["metric=none", "match_target=%7Bjob%3D%22x%22%7D", "limit=0"] {
        assert_eq!(data(&service, &format!("targets/metadata?{uri}")).await.0, json!([]), "{uri}");
    }
}

#[tokio::test]
async fn the_index_is_summed_up() {
    let service = with_metrics().await;
    let index = data(&service, "status/tsdb?limit=1").await.0;
    assert_eq!(index["headStats"]["numSeries"], 4);
    assert_eq!(index["seriesCountByMetricName"], json!([{"name": "orders_total", "value": 2}]));
    assert_eq!(index["labelValueCountByLabelName"], json!([{"name": "__name__", "value": 3}]));
    for list in ["memoryInBytesByLabelName", "seriesCountByLabelValuePair"] {
        assert_eq!(index[list].as_array().unwrap().len(), 1, "{list}");
    }
}

#[tokio::test]
async fn exemplars_come_with_their_series() {
    let service = Service::new();
    let at = now() - 60_000;
    let one = series("requests", &[("job", "a")]);
    let example = |trace: &str, value: f64, timestamp: Millis| SeriesExemplar {
        series: one.clone(),
        exemplar: Exemplar { labels: LabelSet::new([("trace_id", trace)]).unwrap(), value, timestamp },
    };
    let exemplars = vec![example("x", 6.0, at + 945), example("y", 0.25, at + 2_000)];
    let stored = Batch { exemplars, ..Batch::clone(&batch("t", "1", Vec::new())) };
    service.store.append(&[Arc::new(stored)]).await.unwrap();
    let shown = |trace: &str, value: &str, at: f64| json!({"labels": {"trace_id": trace}, "value": value, "timestamp": at});
    let answer = |exemplars: Vec<Value>| json!([{"seriesLabels": {"__name__": "requests", "job": "a"}, "exemplars": exemplars}]);
    let seconds = |millis: Millis| millis as f64 / 1e3;
    let both = answer(vec![shown("x", "6", seconds(at + 945)), shown("y", "0.25", seconds(at) + 2.0)]);
    let (found, _) = data(&service, "query_exemplars?query=rate(requests%5B5m%5D)%2Brequests").await;
    // Whole seconds are written without a fraction, which is the same number.
    assert_eq!(found[0]["seriesLabels"], both[0]["seriesLabels"]);
    for (index, expected) in both[0]["exemplars"].as_array().unwrap().iter().enumerate() {
        let shown = &found[0]["exemplars"][index];
        assert_eq!((&shown["labels"], &shown["value"]), (&expected["labels"], &expected["value"]));
        assert_eq!(shown["timestamp"].as_f64(), expected["timestamp"].as_f64());
    }
    let uri = format!("query_exemplars?query=requests&start={}&end={}", at / 1_000, at / 1_000 + 1);
    assert_eq!(data(&service, &uri).await.0[0]["exemplars"].as_array().unwrap().len(), 1);
    assert_eq!(data(&service, "query_exemplars?query=none").await.0, json!([]));
    let none = service.get("/api/v1/query_exemplars?query=1%2B1").await;
    assert_eq!((none.status.as_u16(), none.text()), (204, ""));
}

fn histogram_frame(layout: &Arc<Layout>, at: Millis, histogram: NativeHistogram) -> Frame {
    let mut frame = frame(layout, at, &[0.0]);
    put_histogram(&mut frame, 0, histogram);
    frame
}

#[tokio::test]
async fn native_histograms_are_shown() {
    let service = Service::new();
    let at = now() - 60_000;
    let layout = Layout::shared(vec![series("latency", &[])]);
    let histogram = NativeHistogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 6.0,
        sum: 5.5,
        reset_hint: metricsd_model::ResetHint::Unknown,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![2.0, 3.0],
        negative_spans: vec![],
        negative_buckets: vec![],
        custom_values: vec![],
    };
    service.store.append(&[batch("t", "1", vec![histogram_frame(&layout, at, histogram)])]).await.unwrap();
    let shown = json!({"count": "6", "sum": "5.5", "buckets": [
        [3, "-0.001", "0.001", "1"], [0, "0.5", "1", "2"], [0, "1", "2", "3"]
    ]});
    let seconds = at / 1_000;
    let (instant, _) = data(&service, &format!("query?query=latency&time={seconds}")).await;
    let metric = json!({"__name__": "latency"});
    assert_eq!(instant["result"], json!([{"metric": metric, "histogram": [seconds, shown]}]));
    let uri = format!("query_range?query=latency&start={seconds}&end={seconds}&step=1");
    let (range, _) = data(&service, &uri).await;
    assert_eq!(range["result"], json!([{"metric": metric, "histograms": [[seconds, shown]]}]));
    let uri = format!("/api/v1/metrics/query?query=latency&time={seconds}");
    let own = service.get(&uri).await.json();
    assert_eq!(own["result"], json!([{"metric": metric, "histogram": [seconds, shown]}]));
    // The text format has no form for it.
    assert_eq!(service.get("/federate?match[]=latency").await.text(), "");
}
