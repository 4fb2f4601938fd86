//! Properties: nothing makes the parser panic, and what is printed reads back.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Reads everything there is to read, also after errors; returns how many entries came.
fn drain(page: &[u8], format: Format) -> usize {
    let mut parser = Parser::new(page, format);
    let mut families = Families::new(format);
    let mut entries = 0;
    // Every call consumes a line or ends the page, so this many are enough.
    for _ in 0..page.len() + 3 {
        match parser.next_entry() {
            Ok(Some(entry)) => {
                entries += 1;
                families.observe(&entry);
                use_up(&entry, &mut families);
            }
            Ok(None) => return entries,
            Err(error) => assert!(error.line >= 1 && !error.message.is_empty()),
        }
    }
    panic!("the parser does not end");
}

/// All that is done with an entry later on must hold what the pass over the page promised.
fn use_up(entry: &Entry<'_>, families: &mut Families<'_>) {
    match entry {
        Entry::Help { text, .. } => drop(unescape_help(text)),
        Entry::Sample(sample) => {
            match parse_series(sample.series) {
                Ok(series) => drop(families.lookup(&series.name)),
                Err(SeriesError::Syntax(message)) => panic!("{}: {message}", sample.series),
                Err(_) => {}
            }
            if let Some(exemplar) = &sample.exemplar {
                assert!(!matches!(exemplar.parse_labels(), Err(SeriesError::Syntax(_))));
            }
        }
        _ => {}
    }
}

const SEEDS: [&str; 3] = [
    "# HELP a_total x\\n\n# TYPE a_total counter\na_total{b=\"c\\\"\",d=\"e\",} 1.5e3 1395066363000\n{\"q.r\",\"s\"=\"t\"} NaN\n",
    "# TYPE a counter\n# UNIT a_seconds seconds\na_total{b=\"\\\\\"} 17.0 1520879607.789 # {t=\"u\"} 0.5 1.5\n# EOF\n",
    "\t# TYPE \"h i\" histogram\n h_bucket { le = \"+Inf\" , } +Inf -5\r\n\n{\"\"} {} # {} ,=\n# EOF",
];

#[derive(Debug, Clone)]
struct Line {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
    millis: Option<i64>,
}

fn line() -> impl Strategy<Value = Line> {
    let name = prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", "\\PC{1,10}", "[\"\\\\\n.é]{1,5}"];
    let label = prop_oneof!["[a-zA-Z][a-zA-Z0-9_]{0,10}", "\\PC{1,6}", "[\"\\\\\n=,]{1,3}"];
    let labels = proptest::collection::btree_map(label, "[\\PC\"\\\\\n\r\t]{0,12}", 0..5);
    let millis = proptest::option::of(-4_000_000_000_000i64..4_000_000_000_000);
    (name, labels, any::<u64>(), millis).prop_map(|(name, labels, bits, millis)| Line {
        name,
        labels: labels.into_iter().filter(|(name, _)| name != "__name__").collect(),
        value: f64::from_bits(bits),
        millis,
    })
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

fn print(line: &Line, format: Format) -> String {
    let mut parts = Vec::new();
    let plain = metricsd_model::labels::is_classic_metric_name(&line.name);
    if !plain {
        parts.push(format!("\"{}\"", escape(&line.name)));
    }
    for (name, value) in &line.labels {
        let plain = metricsd_model::labels::is_classic_label_name(name);
        let name = if plain { name.clone() } else { format!("\"{}\"", escape(name)) };
        parts.push(format!("{name}=\"{}\"", escape(value)));
    }
    let mut out = if plain { line.name.clone() } else { String::new() };
    let _ = write!(out, "{{{}}} {}", parts.join(","), line.value);
    match (line.millis, format) {
        (None, _) => {}
        (Some(millis), Format::Text) => drop(write!(out, " {millis}")),
        (Some(millis), Format::OpenMetrics | Format::Protobuf) => {
            let sign = if millis < 0 { "-" } else { "" };
            let _ = write!(out, " {sign}{}.{:03}", millis.abs() / 1000, millis.abs() % 1000);
        }
    }
    out
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(page in vec(any::<u8>(), 0..300)) {
        drain(&page, Format::Text);
        drain(&page, Format::OpenMetrics);
    }

    #[test]
    fn no_text_of_the_grammar_makes_it_panic(page in "([ \\t\\n#{}=,\"\\\\]|a|é|1|\\.|-|e|# (HELP|TYPE|UNIT|EOF) |NaN|gauge){0,60}") {
        drain(page.as_bytes(), Format::Text);
        drain(page.as_bytes(), Format::OpenMetrics);
    }

    #[test]
    fn no_damage_to_a_page_makes_it_panic(
        seed in 0..SEEDS.len(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut page = SEEDS[seed].as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(page.len());
            page[at] = byte;
        }
        page.truncate(cut.index(page.len() + 1));
        drain(&page, Format::Text);
        drain(&page, Format::OpenMetrics);
    }

    #[test]
    fn what_is_printed_reads_back(lines in vec(line(), 0..8), open_metrics: bool) {
        let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
        let mut page: String = lines.iter().map(|line| print(line, format) + "\n").collect();
        if open_metrics {
            page += "# EOF\n";
        }
        let mut parser = Parser::new(page.as_bytes(), format);
        for line in &lines {
            let Some(Entry::Sample(sample)) = parser.next_entry().unwrap() else { panic!("a sample is missing") };
            let series = parse_series(sample.series).unwrap();
            let labels: Vec<(String, String)> =
                series.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            prop_assert_eq!(&series.name, &line.name);
            prop_assert_eq!(&labels, &line.labels);
            prop_assert_eq!(sample.timestamp, line.millis);
            prop_assert!(sample.value == line.value || sample.value.is_nan() && line.value.is_nan());
        }
        prop_assert_eq!(parser.next_entry(), Ok(None));
    }
}
