//! Queries on several lines.

use metricsd_promql::syntax::pretty;

use super::tree_of;

#[track_caller]
fn lines(text: &str, expected: &[&str]) {
    let shown = pretty(&tree_of(text));
    assert_eq!(shown, expected.join("\n"), "{text}");
    assert_eq!(pretty(&tree_of(&shown)), shown, "{text}");
}

#[test]
fn what_fits_stays_on_one_line() {
    lines("foo+bar", &["foo + bar"]);
    let name = "a".repeat(98);
    lines(&format!("({name})"), &[&format!("({name})")]);
    lines(&format!("-({name})"), &[&format!("-({name})")]);
    lines(&format!("(-{name})"), &["(", &format!("  -{name}"), ")"]);
}

#[test]
fn operators_stand_on_lines_of_their_own() {
    let (a, b) = ("a".repeat(50), "b".repeat(50));
    lines(
        &format!("{a} / on (x) group_left (y) {b}"),
        &[&format!("  {a}"), "/ on (x) group_left (y)", &format!("  {b}")],
    );
    lines(&format!("{a} > bool {b} + 1"), &[&format!("  {a}"), "> bool", &format!("  {b} + 1")]);
    lines(&format!("{a} + {b} - 1"), &[&format!("    {a}"), "  +", &format!("    {b}"), "-", "  1"]);
}

#[test]
fn arguments_stand_on_lines_of_their_own() {
    let (a, b) = ("a".repeat(50), "b".repeat(50));
    lines(
        &format!("sum by (x) (rate({a}{{job=\"{b}\"}}[5m]))"),
        &["sum by (x) (", "  rate(", &format!("    {a}{{job=\"{b}\"}}[5m]"), "  )", ")"],
    );
    lines(
        &format!("topk(5, {a} + {b})"),
        &["topk(", "  5,", &format!("    {a}"), "  +", &format!("    {b}"), ")"],
    );
    lines(
        &format!("label_replace({a}, \"x\", \"{b}\", \"y\", \"z\")"),
        &[
            "label_replace(",
            &format!("  {a},"),
            "  \"x\",",
            &format!("  \"{b}\","),
            "  \"y\",",
            "  \"z\"",
            ")",
        ],
    );
}

#[test]
fn sub_queries_and_signs_stay_with_their_operand() {
    let (a, b) = ("a".repeat(50), "b".repeat(50));
    lines(
        &format!("sum_over_time(({a} + {b})[5m:1m] offset 1h)"),
        &[
            "sum_over_time(",
            "  (",
            &format!("      {a}"),
            "    +",
            &format!("      {b}"),
            "  )[5m:1m] offset 1h",
            ")",
        ],
    );
    let name = "a".repeat(80);
    let short = format!("abs({name})[5m:1m]");
    lines(&format!("sum_over_time({short})"), &["sum_over_time(", &short, ")"]);
    lines(&format!("-sum({a} + {b})"), &["-sum(", &format!("    {a}"), "  +", &format!("    {b}"), ")"]);
}
