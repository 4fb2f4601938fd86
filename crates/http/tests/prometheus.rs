//! Prometheus' HTTP API: how it is asked, how it answers, how it refuses.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_http::Api;
use metricsd_model::{LabelSet, Millis};
use metricsd_promql::{
    InstantSeries, ParseOptions, PointValue, QueryData, QueryEngine, QueryError, QueryErrorKind,
    QueryOptions, QueryStats, QueryValue, RangeSeries,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What a query was called with.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    query: String,
    start: Millis,
    end: Millis,
    step: Duration,
    options: QueryOptions,
}

/// Answers every query the same, and notes what was asked.
struct FixedEngine {
    answer: Result<QueryData, QueryErrorKind>,
    asked: Mutex<Option<Asked>>,
}

impl FixedEngine {
    fn new(answer: Result<QueryData, QueryErrorKind>) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::new(None) })
    }

    fn answer(&self, asked: Asked) -> Result<QueryValue, QueryError> {
        *self.asked.lock() = Some(asked);
        let data = self.answer.clone().map_err(|kind| QueryError::new(kind, "1:2: parse error: no"))?;
        Ok(QueryValue {
            data,
            warnings: vec!["PromQL warning: w (1:1)".into()],
            infos: vec!["PromQL info: i (1:1)".into()],
            stats: QueryStats {
                series: 2,
                samples: 10,
                peak_samples: 7,
                queued: Duration::from_millis(500),
                reading: Duration::from_millis(250),
                evaluating: Duration::from_secs(1),
            },
        })
    }
}

#[async_trait]
impl QueryEngine for FixedEngine {
    async fn instant(
        &self,
        query: &str,
        at: Millis,
        options: QueryOptions,
    ) -> Result<QueryValue, QueryError> {
        self.answer(Asked { query: query.into(), start: at, end: at, step: Duration::ZERO, options })
    }

    async fn range(
        &self,
        query: &str,
        start: Millis,
        end: Millis,
        step: Duration,
        options: QueryOptions,
    ) -> Result<QueryValue, QueryError> {
        self.answer(Asked { query: query.into(), start, end, step, options })
    }

    fn parse_options(&self) -> ParseOptions {
        ParseOptions { experimental: false }
    }
}

fn labels(job: &str) -> LabelSet {
    LabelSet::new([("__name__", "up"), ("job", job)]).unwrap()
}

fn vector() -> QueryData {
    let series = |job, value| InstantSeries {
        labels: labels(job),
        timestamp: 1_435_781_451_781,
        value: PointValue::Float(value),
    };
    QueryData::Vector(vec![series("a", 1.0), series("b", f64::NAN)])
}

fn with(engine: &Arc<FixedEngine>) -> Service {
    let engine = engine.clone();
    Service::with(move |api: &mut Api| api.engine = engine)
}

/// Checks that it is an error of Prometheus' form, and answers its message.
fn error(answer: &Answer, status: u16, kind: &str) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    assert_eq!((&body["status"], &body["errorType"]), (&json!("error"), &json!(kind)), "{body}");
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

async fn post(service: &Service, uri: &str, form: impl Into<Body>) -> Answer {
    let request = Request::post(uri).header("content-type", "application/x-www-form-urlencoded");
    service.send(request.body(form.into()).unwrap()).await
}

#[tokio::test]
async fn a_vector_is_answered_as_prometheus_does() {
    let engine = FixedEngine::new(Ok(vector()));
    let service = with(&engine);
    let answer = service.get("/api/v1/query?query=up&time=1435781451.781&unknown=1").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let expected = concat!(
        r#"{"status":"success","data":{"resultType":"vector","result":["#,
        r#"{"metric":{"__name__":"up","job":"a"},"value":[1435781451.781,"1"]},"#,
        r#"{"metric":{"__name__":"up","job":"b"},"value":[1435781451.781,"NaN"]}]},"#,
        r#""warnings":["PromQL warning: w (1:1)"],"infos":["PromQL info: i (1:1)"]}"#
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-length"), expected.len().to_string());
    let asked = engine.asked.lock().clone().unwrap();
    assert_eq!((asked.query.as_str(), asked.start), ("up", 1_435_781_451_781));
    assert_eq!(asked.options, QueryOptions::default());
}

#[tokio::test]
async fn every_kind_of_data_is_named() {
    let check = async |data: QueryData, expected: Value| {
        let answer = with(&FixedEngine::new(Ok(data))).get("/api/v1/query?query=x").await.json();
        assert_eq!(answer["data"], expected);
    };
    check(QueryData::Scalar(1_000, 2.5), json!({"resultType": "scalar", "result": [1, "2.5"]})).await;
    check(QueryData::String(1_000, "a".into()), json!({"resultType": "string", "result": [1, "a"]})).await;
    check(QueryData::Vector(vec![]), json!({"resultType": "vector", "result": []})).await;
    let series = RangeSeries { labels: labels("a"), floats: vec![(0, 1.0), (500, 2.0)], histograms: vec![] };
    let metric = json!({"__name__": "up", "job": "a"});
    check(
        QueryData::Matrix(vec![series]),
        json!({"resultType": "matrix", "result": [{"metric": metric, "values": [[0, "1"], [0.5, "2"]]}]}),
    )
    .await;
}

#[tokio::test]
async fn forms_go_before_the_address() {
    let engine = FixedEngine::new(Ok(vector()));
    let service = with(&engine);
    let form = "query=rate(up%5B5m%5D)&start=2015-07-01T20:10:30.781Z&end=1435781530.781&step=15s";
    let answer =
        post(&service, "/api/v1/query_range?step=1&query=no&timeout=10s&lookback_delta=90&stats=all", form)
            .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = Asked {
        query: "rate(up[5m])".into(),
        start: 1_435_781_430_781,
        end: 1_435_781_530_781,
        step: Duration::from_secs(15),
        options: QueryOptions {
            look_back: Some(Duration::from_secs(90)),
            timeout: Some(Duration::from_secs(10)),
        },
    };
    assert_eq!(engine.asked.lock().clone().unwrap(), expected);
    let expected = json!({
        "timings": {
            "evalTotalTime": 1.0, "resultSortTime": 0.0, "queryPreparationTime": 0.25, "innerEvalTime": 0.75,
            "execQueueTime": 0.5, "execTotalTime": 1.5
        },
        "samples": {"totalQueryableSamples": 10, "peakSamples": 7}
    });
    assert_eq!(answer.json()["data"]["stats"], expected);
    // A body that is no form says nothing.
    let request = Request::post("/api/v1/query?query=up").header("content-type", "text/plain");
    service.send(request.body(Body::from("query=down")).unwrap()).await;
    assert_eq!(engine.asked.lock().clone().unwrap().query, "up");
}

#[tokio::test]
async fn limits_cut_and_say_so() {
    let service = with(&FixedEngine::new(Ok(vector())));
    let ask = async |limit: &str| service.get(&format!("/api/v1/query?query=up&limit={limit}")).await.json();
    let answer = ask("1").await;
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(answer["warnings"][1], "results truncated due to limit");
    for limit in ["", "0", "2", "3"] {
        let answer = ask(limit).await;
        assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 2, "{limit}");
        assert_eq!(answer["warnings"].as_array().unwrap().len(), 1, "{limit}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_explained_as_prometheus_does() {
    let service = with(&FixedEngine::new(Ok(vector())));
    let steps = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    let points = "exceeded maximum resolution of 11,000 points per timeseries. \
                  Try decreasing the query resolution (?step=XX)";
    let times = "invalid parameter \"time\": invalid time value for 'time': cannot parse";
    for (request, message) in [
        ("query?query=up&time=x", format!("{times} \"x\" to a valid timestamp")),
        ("query?query=up&time=NaN", format!("{times} \"NaN\" to a valid timestamp")),
        (
            "query?query=up&time=1e300",
            format!("{times} \"1e300\" to a valid timestamp. It is outside of the years 1 to 9999"),
        ),
        (
            "query?query=up&timeout=x",
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration".into(),
        ),
        (
            "query?query=up&lookback_delta=x",
            "error parsing lookback delta duration: cannot parse \"x\" to a valid duration".into(),
        ),
        (
            "query?query=up&limit=x",
            "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax".into(),
        ),
        ("query?query=up&limit=-1", "invalid parameter \"limit\": limit must be non-negative".into()),
        ("query?query=%zz", "error parsing form values: invalid URL escape \"%zz\"".into()),
        ("query?query=%ff", "error parsing form values: invalid UTF-8".into()),
        (
            "query_range?query=up",
            "invalid parameter \"start\": cannot parse \"\" to a valid timestamp".into(),
        ),
        (
            "query_range?query=up&start=1",
            "invalid parameter \"end\": cannot parse \"\" to a valid timestamp".into(),
        ),
        (
            "query_range?query=up&start=1&end=2",
            "invalid parameter \"step\": cannot parse \"\" to a valid duration".into(),
        ),
        (
            "query_range?query=up&start=2&end=1&step=1",
            "invalid parameter \"end\": end timestamp must not be before start time".into(),
        ),
        ("query_range?query=up&start=1&end=2&step=0", format!("invalid parameter \"step\": {steps}")),
        ("query_range?query=up&start=1&end=2&step=-1", format!("invalid parameter \"step\": {steps}")),
        ("query_range?query=up&start=1&end=2&step=0.0001", format!("invalid parameter \"step\": {steps}")),
        ("query_range?query=up&start=0&end=11001&step=1", points.into()),
        ("query_range?query=up&start=0001-01-01T00:00:00Z&end=9999-12-31T23:59:59Z&step=1", points.into()),
        ("query_range?query=up&start=1&end=2&step=NaN", format!("invalid parameter \"step\": {steps}")),
        ("query_exemplars?query=up%7B", "1:4: parse error: unexpected end of input inside braces".into()),
        (
            "series?match[]=%7B%7D",
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher".into(),
        ),
        ("query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp".into()),
        ("series", "no match[] parameter provided".into()),
    ] {
        let answer = service.get(&format!("/api/v1/{request}")).await;
        assert_eq!(error(&answer, 400, "bad_data"), message, "{request}");
    }
    let most = service.get("/api/v1/query_range?query=up&start=0&end=11000&step=1").await;
    assert_eq!(most.status, 200);
}

#[tokio::test]
async fn failures_have_their_kinds() {
    for (kind, status, name, message) in [
        (QueryErrorKind::BadData, 400, "bad_data", "invalid parameter \"query\": 1:2: parse error: no"),
        (QueryErrorKind::Execution, 422, "execution", "1:2: parse error: no"),
        (QueryErrorKind::Limit, 422, "execution", "1:2: parse error: no"),
        (QueryErrorKind::Timeout, 503, "timeout", "1:2: parse error: no"),
        (QueryErrorKind::Unavailable, 503, "unavailable", "1:2: parse error: no"),
    ] {
        let service = with(&FixedEngine::new(Err(kind)));
        let answer = service.get("/api/v1/query?query=up").await;
        assert_eq!(error(&answer, status, name), message);
        assert_eq!(answer.header("retry-after").is_empty(), status != 503);
    }
}

#[tokio::test]
async fn forms_that_are_too_large_are_refused() {
    let service = with(&FixedEngine::new(Ok(vector())));
    let giant = format!("query={}", "a".repeat(1 << 20));
    let answer = post(&service, "/api/v1/query", giant).await;
    assert!(error(&answer, 413, "bad_data").contains("larger than 1048576 bytes"));
    let answer = post(&service, "/api/v1/query", "query=%").await;
    assert_eq!(error(&answer, 400, "bad_data"), "error parsing form values: invalid URL escape \"%\"");
}

#[tokio::test]
async fn what_holds_for_every_route_is_told_in_the_same_form() {
    let service = Service::with(|api| api.settings.max_concurrent_requests = 0);
    let answer = service.get("/api/v1/labels").await;
    assert_eq!(answer.header("retry-after"), "1");
    error(&answer, 503, "unavailable");
}

/// Never answers, and tells when it is given up.
struct Endless(Arc<AtomicBool>);

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl QueryEngine for Endless {
    async fn instant(&self, _: &str, _: Millis, _: QueryOptions) -> Result<QueryValue, QueryError> {
        let _given_up = OnDrop(self.0.clone());
        std::future::pending().await
    }

    async fn range(
        &self,
        _: &str,
        _: Millis,
        _: Millis,
        _: Duration,
        _: QueryOptions,
    ) -> Result<QueryValue, QueryError> {
        let _given_up = OnDrop(self.0.clone());
        std::future::pending().await
    }

    fn parse_options(&self) -> ParseOptions {
        ParseOptions { experimental: false }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    for uri in [
        "/api/v1/query?query=up",
        "/api/v1/query_range?query=up&start=1&end=2&step=1",
        "/api/v1/metrics/query?query=up",
    ] {
        let given_up = Arc::new(AtomicBool::new(false));
        let engine = Arc::new(Endless(given_up.clone()));
        let service = Service::with(move |api| api.engine = engine);
        let waited = tokio::time::timeout(Duration::from_millis(50), service.get(uri)).await;
        assert!(waited.is_err(), "{uri}");
        assert!(given_up.load(Ordering::SeqCst), "{uri}");
    }
}
