//! Whatever pages came before, a reader finds in a page what a reader finds that never saw another.

use std::collections::HashSet;
use std::sync::Arc;

use metricsd_codec::exposition::Format;
use metricsd_ingest::Limits;
use metricsd_model::{
    FilterAction, Layout, MetricFilter, OnLimit, RelabelConfig, ScrapeOptions, Series, SeriesId, TargetSpec,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::client::ScrapeError;
use crate::page::Scraped;
use crate::page_tests::{Bench, spec};

const LINES: [&str; 14] = [
    "a",
    "a{x=\"1\"}",
    "a{x=\"2\"}",
    "a {x=\"1\"}",
    "ab",
    "ab{x=\"1\",}",
    "b{x=\"é \\\" }\"}",
    "dropped",
    "b{y=\"a value that is too long\"}",
    "{\"a.b\"}",
    "up",
    " c",
    "twice{x=\"1\",x=\"2\"}",
    "d_total",
];

const VALUES: [&str; 20] = [
    " 1",
    " -0",
    " 0.25",
    " NaN",
    " +Inf",
    " 1e400",
    " 0x1",
    "  7",
    "\t7",
    " 5 1750000000000",
    " 6 1749999999999",
    " 7 1",
    " 8 ",
    " 9 # {a=\"b\"} 1",
    " 1e3",
    "7",
    "",
    " 1 2 3",
    " 123456789012345678901",
    " 3\r",
];

const COMMENTS: [&str; 9] = [
    "# TYPE a counter",
    "# TYPE a gauge",
    "# HELP a Things.",
    "# HELP a Other things.",
    "# a remark",
    "",
    "# EOF",
    "# TYPE d counter",
    "#",
];

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (select(LINES.as_slice()), select(VALUES.as_slice().get(..5).unwrap()))
            .prop_map(|(series, value)| format!("{series}{value}\n")),
        2 => (select(LINES.as_slice()), select(VALUES.as_slice()))
            .prop_map(|(series, value)| format!("{series}{value}\n")),
        2 => select(COMMENTS.as_slice()).prop_map(|comment| format!("{comment}\n")),
    ]
}

/// What becomes of a page until the next scrape.
#[derive(Debug, Clone)]
enum Change {
    Values(Vec<usize>),
    Insert(usize, String),
    Remove(usize),
    Swap(usize, usize),
    Cut,
    Fail,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => prop::collection::vec(0..VALUES.len().min(5), 1..12).prop_map(Change::Values),
        1 => prop::collection::vec(0..VALUES.len(), 1..12).prop_map(Change::Values),
        2 => (0..12usize, line()).prop_map(|(at, line)| Change::Insert(at, line)),
        2 => (0..12usize).prop_map(Change::Remove),
        1 => (0..12usize, 0..12usize).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => Just(Change::Cut),
        1 => Just(Change::Fail),
    ]
}

fn apply(page: &mut Vec<String>, change: &Change) {
    let length = page.len().max(1);
    match change {
        Change::Values(values) => {
            for (line, value) in page.iter_mut().zip(values.iter().cycle()) {
                let series = LINES.iter().filter(|series| line.starts_with(*series)).max_by_key(|s| s.len());
                if let Some(series) = series {
                    *line = format!("{series}{}\n", VALUES[*value]);
                }
            }
        }
        Change::Insert(at, line) => page.insert(at % (page.len() + 1), line.clone()),
        Change::Remove(_) if page.is_empty() => {}
        Change::Remove(at) => drop(page.remove(at % length)),
        Change::Swap(..) if page.is_empty() => {}
        Change::Swap(a, b) => page.swap(a % length, b % length),
        Change::Cut => page.last_mut().into_iter().for_each(|line| *line = line.trim_end().to_owned()),
        Change::Fail => {}
    }
}

fn target(honor_timestamps: bool, truncates: bool) -> TargetSpec {
    let mut spec = spec();
    spec.scrape_config.honor_timestamps = honor_timestamps;
    spec.filters = vec![MetricFilter {
        action: FilterAction::Exclude,
        name: Some("dropped".into()),
        labels: Default::default(),
        drop_labels: Vec::new(),
    }];
    // Without a limit on samples, which series are kept does not depend on those before.
    let (on_limit, label_limit) = if truncates { (OnLimit::Truncate, 5) } else { (OnLimit::Reject, 0) };
    let copied = RelabelConfig {
        source_labels: vec!["x".into()],
        regex: Some("1".into()),
        target_label: Some("copied".into()),
        replacement: Some("$0".into()),
        ..RelabelConfig::default()
    };
    spec.scrape_config.options = Arc::new(ScrapeOptions {
        on_limit,
        label_limit,
        metric_relabel_configs: vec![copied],
        ..ScrapeOptions::default()
    });
    spec
}

/// Everything about a page that does not depend on the pages before.
fn shown(scraped: &Result<Scraped, ScrapeError>) -> Result<String, ScrapeError> {
    let Scraped { layout, values, timed, ledger, types, offenders, .. } =
        scraped.as_ref().map_err(Clone::clone)?;
    let series: Vec<&Series> = layout.series.iter().map(|series| &**series).collect();
    let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
    let timed: Vec<_> =
        timed.iter().map(|(series, at, value)| (series.id, *at, format!("{value:?}"))).collect();
    Ok(format!(
        "{series:?} {:?} {:?} {bits:?} {timed:?} {ledger:?} {types:?} {offenders:?}",
        layout.ids, layout.id
    ))
}

fn ids(layout: &Layout) -> HashSet<SeriesId> {
    layout.ids.iter().copied().collect()
}

proptest! {
    #[test]
    fn earlier_pages_change_nothing(
        mut page in prop::collection::vec(line(), 0..12),
        changes in prop::collection::vec(change(), 1..12),
        honor_timestamps: bool,
        open_metrics: bool,
        truncates: bool,
    ) {
        let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
        let limits = Limits { max_label_value_bytes: 10, max_scrape_samples: 14, ..Limits::default() };
        let bench = || Bench::new(target(honor_timestamps, truncates), limits.clone());
        let mut old = bench();
        let mut stored: Option<Arc<Layout>> = None;
        let (mut stored_page, mut stored_timed) = (HashSet::new(), HashSet::new());
        for change in &changes {
            if matches!(change, Change::Fail) {
                let (layout, _) = old.reader.fail();
                stored = Some(layout);
                stored_page.clear();
            }
            apply(&mut page, change);
            let mut text = page.concat();
            if open_metrics {
                text.push_str("# EOF\n");
            }
            let (seen, fresh) = (old.try_read(text.as_bytes(), format), bench().try_read(text.as_bytes(), format));
            prop_assert_eq!(shown(&seen), shown(&fresh), "{:?}", text);
            if let Ok(scraped) = seen {
                let (new, before) = (ids(&scraped.layout), stored.as_deref().map(ids).unwrap_or_default());
                let vanished: HashSet<SeriesId> = scraped.vanished.iter().map(|series| series.id).collect();
                prop_assert_eq!(vanished, before.difference(&new).copied().collect::<HashSet<_>>());
                let timed: HashSet<SeriesId> = scraped.timed.iter().map(|(series, ..)| series.id).collect();
                let page_ids = scraped.layout.ids.iter().take(scraped.values.len()).copied();
                let found: HashSet<SeriesId> = page_ids.chain(timed.iter().copied()).collect();
                let known = |id: &SeriesId| stored_page.contains(id) || stored_timed.contains(id);
                prop_assert_eq!(scraped.added as usize, found.iter().filter(|id| !known(id)).count());
                stored_page = scraped.layout.ids.iter().take(scraped.values.len()).copied().collect();
                (stored, stored_timed) = (Some(scraped.layout), timed);
            }
        }
    }
}
