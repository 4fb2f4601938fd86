//! Whole charts, character by character.

use serde_json::{Value, json};

use super::*;

const START: Millis = 1_750_500_000_000;

fn drawn(series: Value, window: Option<Window>, width: usize, colours: bool) -> String {
    let series: Vec<Series> = serde_json::from_value(series).unwrap();
    let mut out = Vec::new();
    print(&mut out, &series, window, Screen { terminal: true, width, colours }).unwrap();
    String::from_utf8(out).unwrap()
}

/// A value every 10 s; an empty text is a step without one.
fn series(name: &str, values: &[&str]) -> Value {
    let values: Vec<Value> = (0..)
        .zip(values)
        .filter(|(_, value)| !value.is_empty())
        .map(|(index, value)| json!([START / 1_000 + index * 10, value]))
        .collect();
    json!({"metric": {"__name__": name}, "values": values})
}

fn window(steps: i64) -> Option<Window> {
    Some(Window { start: START, end: START + steps * 10_000, step: Some(10_000) })
}

#[test]
fn gaps_stay_open_and_lone_points_show() {
    let values = ["0", "2", "1", "", "4", "NaN", "3", "+Inf", "2", "2"];
    let expected = "\
4 ┤                         ⠉
  │
  │
3 ┤                                     ⠒
  │
  │
2 ┤      ⡠⡀                                          ⠤⠤⠤⠤⠤⠤⠤
  │     ⡰⠁⠈⠢⡀
  │    ⡰⠁   ⠈⠢⡀
1 ┤   ⡰⠁      ⠈⠢
  │  ⡰⠁
  │ ⡰⠁
0 ┤⡰⠁
  └─────────────────────────────────────────────────────────
   2025-06-21T10:00:00Z                 2025-06-21T10:01:30Z
  MIN  MAX  LAST  SERIES
⠶ 0    4    2     a
";
    assert_eq!(drawn(json!([series("a", &values)]), window(9), 60, false), expected);
}

#[test]
fn several_series_have_markers_or_colours() {
    let both = json!([series("a", &["0", "2", "1", "", "4"]), series("b", &["4", "1", "1", "1", "1"])]);
    let expected = "\
4 ┤++                                            *
  │ ++
  │  ++
3 ┤   ++
  │     ++
  │      ++
2 ┤       ++  **
  │        ++*  ****
  │       **++      ****
1 ┤     ***   ++++++++++++++++++++++++++++++++++++
  │   ***
  │  **
0 ┤**
  └───────────────────────────────────────────────
   2025-06-21T10:00:00Z       2025-06-21T10:00:40Z
  MIN  MAX  LAST  SERIES
* 0    4    4     a
+ 1    4    1     b
";
    assert_eq!(drawn(both.clone(), window(4), 50, false), expected);
    let coloured = drawn(both, window(4), 50, true);
    let (a, b, end) = ("\u{1b}[36m", "\u{1b}[33m", "\u{1b}[0m");
    let lines: Vec<&str> = coloured.lines().collect();
    assert_eq!(lines[6], format!("2 ┤       {b}⠘⡄  {a}⡠⣀{end}"));
    assert_eq!(lines[7], format!("  │        {b}⠈⣦{a}⠊  ⠉⠒⠤⣀{end}"));
    assert_eq!(lines[16..], [format!("{a}⠶{end} 0    4    4     a"), format!("{b}⠶{end} 1    4    1     b")]);
    // Every line ends its colours.
    assert!(lines.iter().all(|line| line.contains("\u{1b}[3") == line.contains(end)));
}

#[test]
fn constant_series_and_single_points_lie_in_the_middle() {
    let plot = |line: &str| {
        let row = |(label, plot): (&str, &str)| format!("{label} {plot}\n");
        let rows = [
            ("1.50", "┤"),
            ("    ", "│"),
            ("    ", "│"),
            ("1.25", "┤"),
            ("    ", "│"),
            ("    ", "│"),
            ("1.00", line),
            ("    ", "│"),
            ("    ", "│"),
            ("0.75", "┤"),
            ("    ", "│"),
            ("    ", "│"),
            ("0.50", "┤"),
        ];
        rows.map(row).concat() + "     └" + &"─".repeat(74) + "\n"
    };
    let legend = "  MIN  MAX  LAST  SERIES\n⠶ 1    1    1     up\n";
    let five = window(4);
    let times = "      2025-06-21T10:00:00Z       2025-06-21T10:00:20Z       2025-06-21T10:00:40Z\n";
    let constant = json!([series("up", &["1", "1", "1", "1", "1"])]);
    let line = format!("┤{}", "⠤".repeat(74));
    assert_eq!(drawn(constant, five, 80, false), format!("{}{times}{legend}", plot(&line)));
    let one = json!([series("up", &["1"])]);
    assert_eq!(drawn(one.clone(), five, 80, false), format!("{}{times}{legend}", plot("┤⠤")));
    // A range of one moment, and the samples of a range selector.
    let time = format!("      {:27}2025-06-21T10:00:00Z\n", "");
    let middle = format!("┤{:37}⠤", "");
    for window in [window(0), None] {
        assert_eq!(drawn(one.clone(), window, 80, false), format!("{}{time}{legend}", plot(&middle)));
    }
}

#[test]
fn nothing_to_draw_is_said() {
    let expected = "no finite value to draw\n  MIN  MAX  LAST  SERIES\n⠶ -    -    -Inf  up\n";
    assert_eq!(drawn(json!([series("up", &["NaN", "-Inf"])]), window(4), 80, false), expected);
    assert_eq!(drawn(json!([]), window(4), 80, false), "no series\n");
}

#[test]
fn only_some_series_are_drawn_and_the_others_counted() {
    let many: Vec<Value> = (0..11).map(|index| series(&format!("s{index}"), &["1", "2"])).collect();
    let text = drawn(json!(many), window(1), 80, false);
    assert!(text.contains(" s7\n") && !text.contains(" s8\n"), "{text}");
    assert!(
        text.ends_with("\nand 3 more series that are not drawn; topk chooses, --output table shows all\n")
    );
}

#[test]
fn histograms_are_drawn_by_their_counts() {
    let point = |index: i64, count: &str| json!([START / 1_000 + index * 10, {"count": count, "sum": "1"}]);
    let histograms = json!({"metric": {"__name__": "h"}, "histograms": [point(0, "1"), point(1, "5")]});
    let text = drawn(json!([histograms]), window(1), 80, false);
    assert!(text.ends_with("⠶ 1    5    5     h (counts of histograms)\n"), "{text}");
    let mut mixed = series("m", &["2"]);
    mixed["histograms"] = json!([point(1, "5")]);
    let text = drawn(json!([mixed]), window(1), 80, false);
    assert!(text.ends_with("⠶ 2    2    2     m (without 1 histograms)\n"), "{text}");
}

#[test]
fn times_fit_the_width() {
    let check = |columns: usize, expected: &str| assert_eq!(times(window(6).unwrap(), columns), expected);
    check(20, "2025-06-21T10:00:00Z to 2025-06-21T10:01:00Z");
    check(40, "2025-06-21T10:00:00Z to 2025-06-21T10:01:00Z");
    check(63, &format!("2025-06-21T10:00:00Z{:23}2025-06-21T10:01:00Z", ""));
    check(64, "2025-06-21T10:00:00Z  2025-06-21T10:00:30Z  2025-06-21T10:01:00Z");
    let odd = Window { start: START + 1, end: START + 1_000, step: None };
    assert_eq!(times(odd, 46), "2025-06-21T10:00:00.001Z  2025-06-21T10:00:01Z");
}

#[test]
fn narrow_terminals_and_absurd_times_do_no_harm() {
    let odd = json!([{"metric": {}, "values": [[-1e300, "1"], [0, "1e308"], [1e300, "-1e308"]]}]);
    for width in [0, 1, 30, 1_000] {
        assert!(drawn(odd.clone(), None, width, true).contains('└'));
        assert!(drawn(odd.clone(), window(2), width, false).contains('└'));
    }
}
