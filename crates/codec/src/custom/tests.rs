use proptest::prelude::*;

use metricsd_model::{MetricSource, MetricType, Refusal};

use super::*;

const LIMITS: CustomLimits = CustomLimits { max_items: 4 };

fn metric(name: &str, value: f64) -> CustomMetric {
    CustomMetric {
        name: name.into(),
        metric_type: MetricType::Custom,
        value: CustomValue::Float(value),
        labels: Vec::new(),
        timestamp: None,
        source: MetricSource::Application,
        help_text: None,
        unit: None,
        exemplars: Vec::new(),
    }
}

/// The only item of a body.
#[track_caller]
fn one(item: &str) -> Result<CustomMetric, ItemError> {
    let mut items = decode(format!("[{item}]").as_bytes(), &LIMITS).unwrap();
    assert_eq!(items.len(), 1);
    items.remove(0)
}

#[test]
fn a_full_item_reads() {
    let body = r#"[{"name": "orders", "metric_type": "COUNTER", "value": 12.5, "labels": {"b": "2", "a": "\u00e9\n"},
        "timestamp": "2025-06-21T12:00:00.250+02:00", "source": "CLOUD_PROVIDER", "help_text": "Orders.", "unit": "orders"}]"#;
    let expected = CustomMetric {
        name: "orders".into(),
        metric_type: MetricType::Counter,
        value: CustomValue::Float(12.5),
        labels: vec![("b".into(), "2".into()), ("a".into(), "é\n".into())],
        timestamp: Some(1_750_500_000_250),
        source: MetricSource::CloudProvider,
        help_text: Some("Orders.".into()),
        unit: Some("orders".into()),
        exemplars: Vec::new(),
    };
    assert_eq!(decode(body.as_bytes(), &LIMITS), Ok(vec![Ok(expected)]));
}

#[test]
fn what_is_left_out_has_defaults() {
    assert_eq!(one(r#"{"name":"a","value":1}"#), Ok(metric("a", 1.0)));
    let nulls = r#"{"name":"a","value":1,"metric_type":null,"labels":null,"timestamp":null,"source":null,"help_text":null}"#;
    assert_eq!(one(nulls), Ok(metric("a", 1.0)));
    assert_eq!(decode(b" [ ] ", &LIMITS), Ok(vec![]));
}

#[test]
fn values_and_timestamps() {
    let value = |json: &str, expected: f64| {
        let found = match one(&format!(r#"{{"name":"a","value":{json}}}"#)).unwrap().value {
            CustomValue::Float(found) => found,
            other => panic!("{other:?}"),
        };
        assert!(found == expected || found.is_nan() && expected.is_nan(), "{json}: {found}");
    };
    value("-0.1", -0.1);
    value("9007199254740993", 9_007_199_254_740_992.0);
    value("123456789012345678901234567890", 1.234_567_890_123_456_8e29);
    value("\"NaN\"", f64::NAN);
    value("\"Inf\"", f64::INFINITY);
    value("\"+Inf\"", f64::INFINITY);
    value("\"-Inf\"", f64::NEG_INFINITY);
    let time = |json: &str, expected| {
        let found = one(&format!(r#"{{"name":"a","value":1,"timestamp":{json}}}"#)).unwrap().timestamp;
        assert_eq!(found, Some(expected), "{json}");
    };
    time("1750500000000", 1_750_500_000_000);
    time("1.7505e12", 1_750_500_000_000);
    time("-5", -5);
    time("\"2025-06-21T10:00:00Z\"", 1_750_500_000_000);
    time("\"1969-12-31T23:59:59.9999Z\"", -1);
}

/// The only item of a body is refused at `field`.
#[track_caller]
fn bad(item: &str, field: &str, part: &str, refusal: Refusal) {
    let error = one(item).unwrap_err();
    assert_eq!((error.field.as_str(), error.refusal), (field, refusal), "{item}: {error}");
    assert!(error.message.contains(part), "{item}: {error}");
}

/// The same for what comes after a good name and value.
#[track_caller]
fn bad_rest(rest: &str, field: &str, part: &str, refusal: Refusal) {
    bad(&format!(r#"{{"name":"a","value":1,{rest}}}"#), field, part, refusal);
}

#[test]
fn bad_names_and_values() {
    let (name, value) = (Refusal::InvalidName, Refusal::InvalidValue);
    bad(r#"{"value":1}"#, "name", "missing", name);
    bad(r#"{"name":"","value":1}"#, "name", "missing", name);
    bad(r#"{"name":7,"value":1}"#, "name", "expected a string, found 7", name);
    bad(r#"{"name":"a"}"#, "value", "missing", value);
    bad(r#"{"name":"a","value":null}"#, "value", "missing", value);
    bad(r#"{"name":"a","value":"1.5"}"#, "value", "expected a number, \"NaN\"", value);
    bad(r#"{"name":"a","value":true}"#, "value", "found a boolean", value);
    for item in ["1", "-1", "1.5", "null", "true", "\"a\"", "[{}]"] {
        bad(item, "", "expected an object", value);
    }
}

#[test]
fn bad_fields() {
    let value = Refusal::InvalidValue;
    bad_rest(r#""value":2"#, "value", "more than once", value);
    bad_rest(r#""metric_type":"counter""#, "metric_type", "one of COUNTER, GAUGE", value);
    bad_rest(r#""source":"MARS""#, "source", "CUSTOM_EXPORTER, found \"MARS\"", value);
    bad_rest(r#""timestamp":"yesterday""#, "timestamp", "RFC 3339", value);
    bad_rest(r#""timestamp":1750500000.25"#, "timestamp", "whole milliseconds", value);
    bad_rest(r#""timestamp":1e300"#, "timestamp", "whole milliseconds", value);
    bad_rest(r#""help_text":[]"#, "help_text", "found a list", value);
    bad_rest(r#""valeu":2"#, "valeu", "unknown field", value);
}

#[test]
fn bad_labels() {
    let label = Refusal::InvalidLabel;
    bad_rest(r#""labels":[["b","c"]]"#, "labels", "an object of strings", label);
    bad_rest(r#""labels":{"b":1}"#, "labels.b", "found a number", label);
    bad_rest(r#""labels":{"b":null}"#, "labels.b", "found null", label);
    bad_rest(r#""labels":{"b":"","b":""}"#, "labels.b", "more than once", label);
}

#[test]
fn a_bad_item_does_not_hurt_its_neighbours() {
    let body = r#"[{"name":"a","value":1}, {"name":"b","value":{"x":[1,{}]},"more":[[]]}, 7, {"name":"c","value":3}]"#;
    let items = decode(body.as_bytes(), &LIMITS).unwrap();
    assert_eq!(items[0], Ok(metric("a", 1.0)));
    assert_eq!(items[1].as_ref().unwrap_err().field, "value");
    assert_eq!(items[2].as_ref().unwrap_err().index, 2);
    assert_eq!(items[3], Ok(metric("c", 3.0)));
}

#[test]
fn bad_bodies() {
    let check = |body: &str, expected: &str| {
        let error = decode(body.as_bytes(), &LIMITS).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    };
    check("", "EOF while parsing a value at line 1 column 0");
    check("{}", "invalid type: map, expected a list at line 1 column 0");
    check("7", "expected a list at line 1");
    check("[\n {\"name\": }]", "expected value at line 2 column 11");
    check("[{}", "at line 1 column 3");
    check("[] x", "trailing characters at line 1 column 4");
    check("[{\"name\":\"a\",\"value\":1e999}]", "number out of range");
    check("[1,2,3,4,5]", "more than 4 items");
    assert!(decode(b"[{\"name\":\"\xff\"}]", &LIMITS).is_err());
    assert_eq!(decode(b"[1,2,3,4]", &LIMITS).unwrap().len(), 4);
    let deep = "[".repeat(100_000);
    assert!(decode(deep.as_bytes(), &LIMITS).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&body, &LIMITS);
    }

    #[test]
    fn no_json_makes_it_panic(body in "\\[(\\{(\"(name|value|labels|timestamp)\":(\"x\"|1|null|\\{\"a\":\"b\"\\}),?){0,4}\\},?){0,5}\\]") {
        let _ = decode(body.as_bytes(), &LIMITS);
    }
}
