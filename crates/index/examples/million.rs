//! Builds an index of a million series and prints what it costs: memory, insertions, look-ups.
//!
//! `cargo run --release -p metricsd-index --example million`; with `-- --one-by-one` the series are inserted singly.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use metricsd_index::LabelIndex;
use metricsd_model::{LabelSet, MatchOp, Matcher, MetricType};

const SERIES: u64 = 1_000_000;
/// Label sets made at a time, so that making them is not counted.
const CHUNK: u64 = 50_000;

/// Spreads numbers, so that names do not come in order.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number ^ (number >> 29)
}

/// Fifty series for each of 20 000 pods, ten labels each, one of them different for every series.
fn labels(number: u64) -> LabelSet {
    let (pod, metric) = (number / 50, number % 50 + 50 * (number / 50 % 8));
    let pairs = [
        ("__name__", format!("application_{metric}_seconds_total")),
        ("job", format!("job-{}", pod % 40)),
        ("namespace", format!("team-{}", pod % 300)),
        ("pod", format!("{}-{:08x}-{:x}", ["api", "web", "x"][(pod % 3) as usize], mixed(pod) as u32, pod)),
        ("instance", format!("10.{}.{}.{}:9100", pod % 4, pod / 250 % 250, pod % 250)),
        ("container", format!("container-{}", pod % 60)),
        ("method", ["GET", "PUT", "POST", "DELETE"][(number % 4) as usize].to_owned()),
        ("code", ["200", "204", "400", "404", "500", "503"][(number % 6) as usize].to_owned()),
        ("le", format!("{}", (number % 12) as f64 / 4.0)),
        ("id", format!("{:016x}", mixed(number))),
    ];
    LabelSet::new(pairs).unwrap_or_default()
}

/// Resident memory of this process.
fn resident_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(f64::NAN);
    pages * 4096.0 / f64::from(1 << 20)
}

/// Time that this thread was on a processor: other processes of the machine do not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

/// The quickest of several runs.
fn time<T>(what: &str, mut run: impl FnMut() -> T, count: impl Fn(&T) -> u64) {
    let mut best = Duration::MAX;
    let mut answer = 0;
    for _ in 0..5 {
        let start = Instant::now();
        let found = black_box(run());
        best = best.min(start.elapsed());
        answer = count(&found);
    }
    println!("{what:<72} {answer:>8} in {:>9.3} ms", best.as_secs_f64() * 1e3);
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap_or_else(|_| Matcher::equal(name, value))
}

fn selections(index: &LabelIndex) {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let pods: Vec<String> = index.label_values("pod", &[], 20_000).into_iter().step_by(200).collect();
    let pods = pods.join("|");
    let id = format!("{:016x}", mixed(123_456));
    let questions: &[&[(&str, MatchOp, &str)]] = &[
        &[("id", Equal, &id)],
        &[("__name__", Equal, "application_7_seconds_total")],
        &[
            ("__name__", Equal, "application_7_seconds_total"),
            ("job", Equal, "job-8"),
            ("code", NotEqual, "500"),
        ],
        &[("pod", Regex, "x.*")],
        &[("pod", Regex, "x.*"), ("__name__", Equal, "application_7_seconds_total")],
        &[("pod", Regex, &pods)],
        &[("pod", Regex, ".*-1f.*")],
        &[("pod", NotRegex, "(api|web)-.+"), ("method", Equal, "GET")],
        &[("namespace", Regex, "team-1[0-9]"), ("code", Regex, "5..")],
        &[("absent", Equal, ""), ("le", Regex, ".+")],
        &[("id", Regex, "a.*")],
        &[("id", Regex, ".*ff")],
        &[("id", Regex, ".*ff"), ("__name__", Equal, "application_7_seconds_total")],
    ];
    for question in questions {
        let matchers: Vec<Matcher> =
            question.iter().map(|(name, op, value)| matcher(name, *op, value)).collect();
        let mut text = format!("{matchers:?}");
        text.truncate(70);
        time(&text, || index.select_ordinals(&matchers), |found| found.len());
    }
    let matchers = [matcher("__name__", Equal, "application_7_seconds_total")];
    time(
        "the same with labels, in order: one metric",
        || index.select(&matchers, 10_000),
        |found| found.as_ref().map_or(0, |found| found.len() as u64),
    );
}

fn look_ups(index: &LabelIndex) {
    use MatchOp::{Equal, Regex};
    let metric = [matcher("__name__", Equal, "application_7_seconds_total")];
    let pods = [matcher("pod", Regex, "x.*")];
    let count = |answer: &Vec<String>| answer.len() as u64;
    let all = usize::MAX;
    time("label names", || index.label_names(&[], all), count);
    time("label names of one metric", || index.label_names(&metric, all), count);
    time("label names of pods x.*", || index.label_names(&pods, all), count);
    time("metric names", || index.label_values("__name__", &[], all), count);
    time("metric names of pods x.*", || index.label_values("__name__", &pods, all), count);
    time("pods", || index.label_values("pod", &[], all), count);
    time("pods of one metric", || index.label_values("pod", &metric, all), count);
    time("pods x.*", || index.label_values("pod", &pods, all), count);
    time("the first 10 000 ids", || index.label_values("id", &[], 10_000), count);
    time("the first 10 000 ids of pods x.*", || index.label_values("id", &pods, 10_000), count);
    time("statistics", || index.statistics(10), |answer| answer.label_pairs as u64);
}

fn main() {
    let before = resident_mib();
    let one_by_one = std::env::args().any(|argument| argument == "--one-by-one");
    let mut index = LabelIndex::default();
    let mut spent = Duration::ZERO;
    for start in (0..SERIES).step_by(CHUNK as usize) {
        let chunk: Vec<(i64, LabelSet)> =
            (start..start + CHUNK).map(|number| (mixed(!number) as i64, labels(number))).collect();
        let begin = processor_time();
        if one_by_one {
            chunk.iter().for_each(|(key, labels)| assert!(index.insert(*key, labels, MetricType::Counter)));
        } else {
            index.insert_all(chunk.into_iter().map(|(key, labels)| (key, labels, MetricType::Counter)));
        }
        spent += processor_time() - begin;
    }
    let rate = SERIES as f64 / spent.as_secs_f64();
    println!("{} series of 10 labels, {} pairs", index.len(), index.statistics(0).label_pairs);
    println!("resident {:.0} MiB, {rate:.0} insertions/s", resident_mib() - before);
    selections(&index);
    look_ups(&index);
    let begin = processor_time();
    (0..SERIES).step_by(10).for_each(|number| {
        index.remove(mixed(!number) as i64);
    });
    println!("{:.0} removals/s", SERIES as f64 / 10.0 / (processor_time() - begin).as_secs_f64());
}
