//! From the command line to the question, and from the answer to what is shown.

use clap::Parser;
use serde_json::json;

use super::*;

const NOW: Millis = 1_750_500_000_000;

fn question(arguments: &[&str]) -> (Question, Option<Output>) {
    let all = ["metricsd", "query"].iter().chain(arguments);
    let crate::cli::Command::Query(args) = crate::cli::Cli::try_parse_from(all).unwrap().command else {
        panic!("no query");
    };
    (Question::of(&args, NOW).unwrap(), args.output)
}

fn asked(arguments: &[&str]) -> Vec<String> {
    let (question, _) = question(arguments);
    let parameters = question.parameters.iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once(question.path().to_owned()).chain(parameters).collect()
}

#[test]
fn questions_become_parameters() {
    let check = |arguments: &[&str], expected: &[&str]| assert_eq!(asked(arguments), expected);
    check(&["up"], &["query", "query=up"]);
    check(&["sum(up) + 1", "--time", "-1m"], &["query", "query=sum(up) + 1", "time=1750499940.000"]);
    check(
        &["up", "--start", "250s"],
        &["query_range", "query=up", "start=1750499750.000", "end=1750500000.000", "step=1s"],
    );
    let range = ["up", "--start", "1750000000", "--end", "1750000060", "--step", "30s"];
    check(&range, &["query_range", "query=up", "start=1750000000.000", "end=1750000060.000", "step=30s"]);
}

#[test]
fn steps_are_read_as_the_server_reads_them() {
    let check = |text: &str, expected: Option<Millis>| assert_eq!(step_millis(text), expected, "{text}");
    check("30s", Some(30_000));
    check("1m30s", Some(90_000));
    check("0.5", Some(500));
    check("15", Some(15_000));
    for wrong in ["", "x", "-1", "NaN", "1e300"] {
        check(wrong, None);
    }
}

/// Standard output and standard error.
fn shown(arguments: &[&str], answer: &Value, terminal: bool) -> (String, String) {
    let (question, output) = question(arguments);
    let (mut out, mut remarks) = (Vec::new(), Vec::new());
    let screen = Screen { terminal, width: 50, colours: false };
    show(&mut out, &mut remarks, answer.clone(), &question, output, screen).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(remarks).unwrap())
}

#[test]
fn ranges_are_drawn_on_terminals_and_listed_elsewhere() {
    let series = json!([{"metric": {"__name__": "up"}, "values": [[1_750_500_000, "1"]]}]);
    let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": series}});
    let is_chart = |text: String| text.contains('└');
    let range = ["up", "--start", "1m"];
    assert!(is_chart(shown(&range, &matrix, true).0));
    assert!(!is_chart(shown(&range, &matrix, false).0));
    assert!(is_chart(shown(&["up", "--start", "1m", "-o", "chart"], &matrix, false).0));
    assert!(!is_chart(shown(&["up", "--start", "1m", "-o", "table"], &matrix, true).0));
    // The samples of a range selector are looked at one by one, unless somebody says otherwise.
    assert!(!is_chart(shown(&["up[5m]"], &matrix, true).0));
    assert!(is_chart(shown(&["up[5m]", "-o", "chart"], &matrix, true).0));
    let scalar = json!({"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}});
    let table = "SCALAR  TIME\n1       1970-01-01T00:00:00.000Z\n";
    assert_eq!(shown(&["1", "-o", "chart"], &scalar, true).0, table);
    let csv = "time,value\n1970-01-01T00:00:00.000Z,1\n";
    assert_eq!(shown(&["1", "-o", "csv"], &scalar, true).0, csv);
}

#[test]
fn remarks_go_to_standard_error() {
    let answer = json!({
        "status": "success",
        "data": {"resultType": "vector", "result": []},
        "warnings": ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)", "cut\u{1b}"],
        "infos": ["PromQL info: ignored histogram in min aggregation (1:1)"],
    });
    let (out, remarks) = shown(&["up"], &answer, true);
    assert_eq!(out, "SERIES  VALUE  TIME\n");
    let expected = "\
metricsd: warning: quantile value should be between 0 and 1, got 2 (1:10)
metricsd: warning: cut\\u001b
metricsd: info: ignored histogram in min aggregation (1:1)
";
    assert_eq!(remarks, expected);
    let (out, remarks) = shown(&["up", "-o", "json"], &answer, true);
    assert_eq!((serde_json::from_str::<Value>(&out).unwrap(), remarks.as_str()), (answer, ""));
}
