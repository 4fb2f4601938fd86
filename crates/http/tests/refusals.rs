//! Every way in which a request for a target is refused, and the field that the answer names.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::{Service, request, request_with, resolver};
use serde_json::{Value, json};

const TARGETS: &str = "/api/v1/metrics/targets";

/// One refusal: a value that is put into an otherwise good request, what the named field has after the path of the
/// value (nothing where it is that path), and a part of what is said.
type Refusal = (Value, &'static str, &'static str);

/// Refusals by the place of the value, a JSON pointer.
type Refusals = Vec<(&'static str, Vec<Refusal>)>;

fn long(length: usize) -> Value {
    json!("x".repeat(length))
}

/// What the target is.
fn identity() -> Refusals {
    vec![
        (
            "/source_id",
            vec![
                (Value::Null, "", "is required"),
                (json!(7), "", "expected a string, found a number"),
                (long(101), "", "longer than 100"),
                (json!("a b"), "", "letters, digits"),
                (json!(""), "", "is empty"),
            ],
        ),
        (
            "/target_id",
            vec![
                (long(101), "", "longer than 100"),
                (json!("../x"), "", "begin with a letter or digit"),
                (json!("a/b"), "", "hold only letters"),
                (json!("ä"), "", "letters, digits"),
            ],
        ),
        (
            "/collection_method",
            vec![
                (json!("PULL"), "", "is not one of PULL_SCRAPING, PUSH_GATEWAY"),
                (json!("PUSH_GATEWAY"), "", "POST /api/v1/metrics/custom"),
                (json!("STREAMING"), "", "POST /api/v1/metrics/custom"),
            ],
        ),
        ("/source_type", vec![(json!("APP"), "", "is not one of APPLICATION")]),
        ("/enabled", vec![(json!("yes"), "", "expected true or false, found a string")]),
        ("/interval", vec![(json!("1s"), "", "is not known here; known are source_id")]),
        (
            "/scrape_config",
            vec![(Value::Null, "", "is required"), (json!([]), "", "expected an object, found a list")],
        ),
    ]
}

/// Where it is.
fn addresses() -> Refusals {
    vec![
        (
            "/scrape_config/target_url",
            vec![
                (Value::Null, "", "is required"),
                (json!("ftp://a"), "", "must begin with http://"),
                (json!("http://"), "", "is not an address"),
                (long(501), "", "longer than 500"),
                (json!("http://u:p@a"), "", "authentication"),
                (json!("http://a#f"), "", "fragment"),
                (json!("http://169.254.169.254"), "", "link-local or metadata"),
                (json!("http://2852039166"), "", "link-local or metadata"),
                (json!("http://[fe80::1]"), "", "link-local or metadata"),
                (json!("http://[::ffff:169.254.1.1]"), "", "link-local"),
                (json!("http://0.0.0.0"), "", "no address of a single host"),
            ],
        ),
        (
            "/scrape_config/scheme",
            vec![
                (json!("gopher"), "", "is not one of http, https"),
                (json!("https"), "", "target_url begins with http://"),
            ],
        ),
        (
            "/scrape_config/metrics_path",
            vec![
                (json!("m"), "", "must begin with /"),
                (json!("/m?x"), "", "put it into target_url"),
                (json!("/ m"), "", "holds a blank"),
            ],
        ),
    ]
}

/// How it is scraped.
fn scraping() -> Refusals {
    vec![
        (
            "/scrape_config/scrape_interval",
            vec![
                (json!("15"), "", "is not a duration"),
                (json!(15), "", "expected a string"),
                (json!("99ms"), "", "shorter than 100ms"),
                (json!("2d"), "", "longer than 1d"),
            ],
        ),
        (
            "/scrape_config/scrape_timeout",
            vec![(json!("16s"), "", "longer than the interval of 15s"), (json!("0s"), "", "above zero")],
        ),
        ("/scrape_config/honor_labels", vec![(json!(1), "", "expected true or false")]),
        ("/scrape_config/timeout", vec![(json!("1s"), "", "is not known here")]),
    ]
}

/// What is added to it.
fn labels() -> Refusals {
    vec![(
        "/labels",
        vec![
            (json!([]), "", "expected an object of strings"),
            (json!({"a": 1}), "", "expected a string, found a number"),
            (json!({"__name__": "x"}), ".__name__", "is reserved"),
            (json!({"__a": "x"}), ".__a", "is reserved"),
            (json!({"a-b": "x"}), ".a-b", "is not a label name"),
            (json!({"1a": "x"}), ".1a", "is not a label name"),
            (json!({"": "x"}), ".", "is not a label name"),
            (json!({"a": "\u{0}"}), ".a", "NUL"),
            (json!({"a": "x".repeat(5_000)}), ".a", "longer than 4096"),
        ],
    )]
}

/// What of it is kept.
fn filters() -> Refusals {
    vec![
        (
            "/filters",
            vec![
                (json!({}), "", "expected a list"),
                (json!([1]), "[0]", "expected an object"),
                (json!([{"name": "a"}]), "[0].action", "is required"),
                (json!([{"action": "KEEP"}]), "[0].action", "is not one of INCLUDE, EXCLUDE, DROP_LABELS"),
                (json!([{"action": "INCLUDE"}]), "[0].name", "is required"),
                (json!([{"action": "INCLUDE", "name": "("}]), "[0].name", "unclosed group"),
                (json!([{"action": "EXCLUDE", "labels": {"a": "["}}]), "[0].labels.a", "unclosed"),
                (json!([{"action": "DROP_LABELS"}]), "[0].drop_labels", "is required"),
                (
                    json!([{"action": "DROP_LABELS", "drop_labels": ["__name__"]}]),
                    "[0].drop_labels",
                    "names no",
                ),
                (
                    json!([{"action": "INCLUDE", "name": "a", "drop_labels": ["b"]}]),
                    "[0].drop_labels",
                    "only",
                ),
                (json!([{"action": "INCLUDE", "name": "a", "x": 1}]), "[0].x", "is not known here"),
            ],
        ),
        (
            "/retention_policy",
            vec![
                (json!({}), ".duration", "is required"),
                (json!({"duration": "0s"}), ".duration", "above zero"),
                (json!({"duration": "1d", "x": 1}), ".x", "is not known here"),
            ],
        ),
    ]
}

/// How metricsd proves itself.
fn authentication() -> Refusals {
    vec![(
        "/scrape_config/authentication",
        vec![
            (json!({}), ".type", "is required"),
            (json!({"type": "sealed", "sealed": "x"}), ".type", "is not one of basic, bearer, header"),
            (json!({"type": "basic", "username": "u"}), ".password", "is required"),
            (json!({"type": "basic", "username": "a:b", "password": "p"}), ".username", "colon"),
            (json!({"type": "bearer", "token": ""}), ".token", "is empty"),
            (json!({"type": "bearer", "token": "a\nb"}), ".token", "control character"),
            (json!({"type": "bearer", "token": "********"}), ".token", "the mask"),
            (json!({"type": "header", "name": "a b", "value": "v"}), ".name", "is not a header's name"),
            (json!({"type": "header", "name": "Host", "value": "v"}), ".name", "metricsd sets itself"),
            (json!({"type": "bearer", "token": "t", "x": 1}), ".x", "is not known here"),
        ],
    )]
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_field() {
    let service = Service::new();
    let all = [identity(), addresses(), scraping(), labels(), filters(), authentication()];
    let all = all
        .into_iter()
        .flatten()
        .flat_map(|(pointer, values)| values.into_iter().map(move |refusal| (pointer, refusal)));
    for (pointer, (value, suffix, message)) in all {
        let field = format!("{}{suffix}", pointer[1..].replace('/', "."));
        let body = request_with(pointer, value);
        let problem = service.create(&body).await.problem(422);
        assert_eq!(problem["type"], "urn:metricsd:problem:invalid-request");
        assert_eq!(problem["instance"], TARGETS);
        let errors = problem["errors"].as_array().unwrap();
        let found = errors.iter().any(|error| {
            error["field"] == field.as_str()
                && error["message"].as_str().is_some_and(|text| text.contains(message))
        });
        assert!(found, "{body}: {problem}");
        assert!(!problem.to_string().contains("hunter2"));
    }
    assert_eq!(service.get(TARGETS).await.json(), json!([]));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let service = Service::new();
    let body = json!({"source_id": "a b", "scrape_config": {"target_url": "x://", "scrape_interval": "1"}, "nope": 1});
    let problem = service.create(&body).await.problem(422);
    let fields: Vec<&Value> =
        problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    let expected = ["source_id", "scrape_config.target_url", "scrape_config.scrape_interval", "nope"];
    assert_eq!(fields, expected);
    assert_eq!(problem["detail"], "4 fields are wrong; see errors");
}

#[tokio::test]
async fn names_that_lead_to_forbidden_addresses_are_refused() {
    let check = async |addresses: Option<&[&str]>, status: u16| {
        let service = Service::with(|api| api.resolver = resolver(addresses));
        let answer =
            service.create(&request_with("/scrape_config/target_url", json!("http://name.example"))).await;
        assert_eq!(answer.status.as_u16(), status, "{addresses:?}: {}", answer.text());
    };
    check(Some(&["169.254.169.254:80"]), 422).await;
    check(Some(&["[fd00:ec2::254]:80"]), 422).await;
    check(Some(&["169.254.169.254:80", "10.0.0.1:80"]), 201).await;
    check(Some(&["10.0.0.1:80"]), 201).await;
    check(None, 201).await;
    let closed = Service::with(|api| api.policy.close_private = true);
    closed.create(&request()).await.problem(422);
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let service = Service::new();
    let post = async |content_type: &str, body: String| {
        let request = Request::post(TARGETS).header("content-type", content_type);
        service.send(request.body(Body::from(body)).unwrap()).await
    };
    let problem = post("application/json", "{\"source_id\":\n x}".into()).await.problem(400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("line 2 column 2"), "{detail}");
    post("application/json", "[]".into()).await.problem(400);
    post("application/json", String::new()).await.problem(400);
    post("application/json", format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))).await.problem(400);
    post("text/plain", request().to_string()).await.problem(415);
    post("application/json", format!("\"{}\"", "x".repeat(2 << 20))).await.problem(413);
    assert_eq!(post("application/json; charset=utf-8", request().to_string()).await.status, 201);
}
