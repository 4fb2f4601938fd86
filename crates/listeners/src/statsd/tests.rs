use metricsd_codec::remote_write::{SeriesItem, WriteScanner};
use metricsd_model::is_stale;

use super::*;

fn options() -> StatsdOptions {
    StatsdOptions {
        listen: String::new(),
        limits: ListenLimits::default(),
        names: Names::Mapped,
        rules: Rules::default(),
        labels: Vec::new(),
        flush_interval: Duration::from_secs(10),
        expire_after: Duration::from_secs(60),
        timers: Timers::Native,
        max_series: 100,
        max_bytes: 1 << 20,
    }
}

/// Adds lines at a time; answers why some were dropped.
fn add(table: &mut Table, lines: &[&str], now: i64) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    for line in lines {
        let Ok(Item::Metric(metric)) = Item::parse(line) else { panic!("{line}") };
        dropped.extend(table.add(&metric, now).err());
    }
    dropped
}

/// What a flush writes, in order of text.
fn flush(table: &mut Table, now: i64) -> Vec<String> {
    let body = table.flush(now);
    let mut scanner = WriteScanner::new(&body);
    let mut found = Vec::new();
    while let Some(series) = scanner.next_series().unwrap() {
        let labels = series.parse_labels(100).unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let labels: Vec<_> = labels.iter().map(|l| format!("{}={}", text(l.name), text(l.value))).collect();
        let labels = labels.join(",").replace("__name__=", "");
        let mut items = series.items();
        while let Some(item) = items.next_item().unwrap() {
            found.push(match item {
                SeriesItem::Sample { timestamp, value } if is_stale(value) => {
                    format!("{labels} stale {timestamp}")
                }
                SeriesItem::Sample { timestamp, value } => format!("{labels} {value} {timestamp}"),
                SeriesItem::Histogram(histogram) => {
                    let sample = histogram.decode().unwrap();
                    let (count, sum) = (sample.histogram.count, sample.histogram.sum);
                    format!("{labels} {count}/{sum} {}", sample.timestamp)
                }
                SeriesItem::Exemplar(_) => panic!("no exemplars"),
            });
        }
    }
    found.sort();
    found
}

#[test]
fn counters_are_totals() {
    let mut table = Table::new(options());
    assert_eq!(add(&mut table, &["a:1|c", "a:2:3|c", "a:1|c|@0.1", "b.c:1|c|#x:y,k"], 0), []);
    assert_eq!(flush(&mut table, 10), ["a 16 10", "b_c,k=true,x=y 1 10"]);
    assert_eq!(add(&mut table, &["b.c:1|c|#k,x:y"], 11), [], "the order of tags does not matter");
    assert_eq!(flush(&mut table, 20), ["a 16 20", "b_c,k=true,x=y 2 20"]);
    assert_eq!(add(&mut table, &["a:-1|c", "a:1|g"], 21), [Dropped::Negative, Dropped::OtherType]);
    assert_eq!(flush(&mut table, 30), ["a 16 30", "b_c,k=true,x=y 2 30"]);
}

#[test]
fn what_would_be_no_number_is_dropped() {
    let large = ["c:1.5e308|c", "g:1.5e308|g", "t:1.5e308|d", "u:-1.5e308|d"];
    for timers in [Timers::Native, Timers::Summary] {
        let mut table = Table::new(StatsdOptions { timers, ..options() });
        assert_eq!(add(&mut table, &large, 0), []);
        let more = ["c:1.5e308|c", "g:+1.5e308|g", "t:1.5e308|d", "u:-1.5e308|d"];
        assert_eq!(add(&mut table, &more, 0), [Dropped::Malformed; 4]);
        assert_eq!(add(&mut table, &["c:1|c", "g:-1|g", "t:-1|d", "u:1|d"], 0), []);
        let found = flush(&mut table, 10).join("\n");
        assert!(!found.contains("inf") && !found.contains("NaN"), "{found}");
    }
}

#[test]
fn gauges_are_set_and_changed() {
    let mut table = Table::new(options());
    add(&mut table, &["a:333|g", "a:-10|g", "a:+4|g", "b:-1|g"], 0);
    assert_eq!(flush(&mut table, 10), ["a 327 10", "b -1 10"]);
    add(&mut table, &["a:0|g", "a:-5|g"], 11);
    assert_eq!(flush(&mut table, 20), ["a -5 20", "b -1 20"]);
}

#[test]
fn sets_count_from_flush_to_flush() {
    let mut table = Table::new(options());
    add(&mut table, &["u:1|s", "u:1|s", "u:x:y|s"], 0);
    assert_eq!(flush(&mut table, 10), ["u 2 10"]);
    assert_eq!(flush(&mut table, 20), ["u 0 20"]);
}

#[test]
fn timers_are_histograms_in_seconds() {
    let mut table = Table::new(options());
    add(&mut table, &["t:500|ms|@0.5", "t:1000|ms", "d:5|d", "d:6|h"], 0);
    assert_eq!(flush(&mut table, 10), ["d 2/11 10", "t 3/2 10"]);
    add(&mut table, &["d:5|d"], 11);
    assert_eq!(flush(&mut table, 20), ["d 3/16 20", "t 3/2 20"]);
}

#[test]
fn timers_may_be_summaries() {
    let mut table = Table::new(StatsdOptions { timers: Timers::Summary, ..options() });
    add(&mut table, &["d:4:4:4|d|#x:y"], 0);
    let found = flush(&mut table, 10);
    assert_eq!(found.len(), 5);
    let value = |text: &str| text.split(' ').nth(1).unwrap().parse::<f64>().unwrap();
    assert!(
        found[0].starts_with("d,x=y,quantile=0.5 ") && (value(&found[0]) / 4.0 - 1.0).abs() < 0.05,
        "{found:?}"
    );
    assert_eq!(found[3..], ["d_count,x=y 3 10", "d_sum,x=y 12 10"]);
    let found = flush(&mut table, 20);
    assert!(value(&found[0]).is_nan());
    assert_eq!(found[3..], ["d_count,x=y 3 20", "d_sum,x=y 12 20"]);
    assert!(flush(&mut table, 70_000).iter().all(|sample| sample.ends_with("stale 70000")));
}

#[test]
fn silent_series_end_and_begin_anew() {
    let mut table = Table::new(options());
    add(&mut table, &["a:5|c", "b:1|g"], 0);
    add(&mut table, &["b:1|g"], 30_000);
    assert_eq!(flush(&mut table, 60_000), ["a stale 60000", "b 1 60000"]);
    assert_eq!(flush(&mut table, 70_000), ["b 1 70000"]);
    add(&mut table, &["a:1|c"], 75_000);
    assert_eq!(flush(&mut table, 80_000), ["a 1 80000", "b 1 80000"]);
}

#[test]
fn lines_may_say_when() {
    let mut table = Table::new(options());
    add(&mut table, &["a:5|c|T7", "g:1|g|T8", "g:2|g|T7"], 0);
    assert_eq!(flush(&mut table, 10_000), ["a 5 10000", "a 5 7000", "g 1 8000", "g 2 10000"]);
    add(&mut table, &["a:1|c|T9"], 11_000);
    assert_eq!(flush(&mut table, 20_000), ["a 6 20000", "g 2 20000"], "a total is not written before itself");
}

#[test]
fn rules_and_labels_apply() {
    let rules = Rules::parse(["api.*.time name=api_seconds route=$1", "noise.** drop"]).unwrap();
    let labels = vec![("host".to_owned(), "h".to_owned())];
    let mut table = Table::new(StatsdOptions { rules, labels, ..options() });
    let dropped =
        add(&mut table, &["api.login.time:5|g|#route:tag,dc:x", "noise.a:1|c", "x:1|g|#host:own"], 0);
    assert_eq!(dropped, [Dropped::Rule]);
    assert_eq!(flush(&mut table, 1), ["api_seconds,dc=x,host=h,route=login 5 1", "x,host=own 1 1"]);
}

#[test]
fn memory_is_bounded() {
    let mut table = Table::new(StatsdOptions { max_series: 2, ..options() });
    assert_eq!(add(&mut table, &["a:1|c", "b:1|c", "c:1|c", "a:1|c"], 0), [Dropped::Series]);
    let mut table = Table::new(StatsdOptions { max_series: 1 << 20, max_bytes: 64 << 10, ..options() });
    for number in 0..10_000 {
        add(&mut table, &[&format!("name.{number}:1|c|#x:{number}"), &format!("set:{number}|s")], 0);
    }
    let (series, bytes) = table.size();
    assert!(series > 50 && bytes < 100 << 10, "{series} series, {bytes} bytes");
    assert!(table.measure_for_tests() <= bytes + 1_024);
}
