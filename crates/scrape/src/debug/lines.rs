//! What becomes of the first lines of a page, one by one.

use std::collections::{BTreeMap, HashSet};

use metricsd_codec::exposition::{Families, Format, MetricKind, Parser};
use metricsd_model::{Millis, OnLimit, Refusal};

use super::{ExplainedLine, text};
use crate::explain::{Explanation, Outcome, explain_of};
use crate::naming::Namer;
use crate::report::reports;

/// The first `lines` samples of a text page, as a scrape would treat them that has never seen the target.
pub(super) fn explained(
    page: &[u8],
    format: Format,
    namer: &Namer,
    lines: usize,
    now: Millis,
) -> Vec<ExplainedLine> {
    let mut families = families(page, format);
    let mut room = Room::new(namer);
    let samples = page
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty() && !line.trim_ascii_start().starts_with(b"#"));
    samples
        .take(lines)
        .map(|(index, line)| {
            let whole = String::from_utf8_lossy(line);
            let mut kind =
                |name: &str, _: &_| families.lookup(name).map_or(MetricKind::Unknown, |family| family.kind);
            let explanation = room.take(explain_of(namer, &whole, now, &mut kind));
            ExplainedLine { line: index + 1, text: text(line), explanation }
        })
        .collect()
}

/// What the page says of its families, as far as it reads.
fn families(page: &[u8], format: Format) -> Families<'_> {
    let mut families = Families::new(format);
    let mut parser = Parser::new(page, format);
    while let Ok(Some(entry)) = parser.next_entry() {
        families.observe(&entry);
    }
    families
}

/// What the lines before leave for a line: series that they do not have yet, and `sample_limit` where pages are cut.
struct Room {
    taken: HashSet<BTreeMap<String, String>>,
    kept: u64,
    limit: u64,
}

impl Room {
    /// The series that every scrape adds are taken from the beginning.
    fn new(namer: &Namer) -> Self {
        let options = namer.options();
        let taken = reports(options.extra_scrape_metrics)
            .filter_map(|(name, help)| namer.report_series(name, help))
            .map(|series| {
                series.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            })
            .collect();
        let limit = if options.on_limit == OnLimit::Truncate { options.sample_limit } else { 0 };
        Self { taken, kept: 0, limit }
    }

    fn take(&mut self, explanation: Explanation) -> Explanation {
        let Some(series) = explanation.series.clone().filter(|_| explanation.outcome == Outcome::Stored)
        else {
            return explanation;
        };
        self.kept += 1;
        if self.limit > 0 && self.kept > self.limit {
            let message = format!("it is beyond sample_limit, which is {}", self.limit);
            return refused(explanation, Refusal::SampleLimit, message);
        }
        // A sample with a time of its own is not compared with those of the scrape's.
        let own_time = explanation.steps.last().is_some_and(|step| step.says == crate::explain::OWN_TIME);
        if !own_time && !self.taken.insert(series) {
            let message = "its series comes a second time, or is one that every scrape adds".to_owned();
            return refused(explanation, Refusal::Duplicate, message);
        }
        explanation
    }
}

fn refused(explanation: Explanation, reason: Refusal, message: String) -> Explanation {
    Explanation { outcome: Outcome::Refused, message, reason: Some(reason), series: None, ..explanation }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metricsd_ingest::Limits;
    use metricsd_model::ScrapeOptions;

    use super::*;
    use crate::page_tests::{NOW, spec};

    fn told(page: &str, options: ScrapeOptions) -> Vec<(usize, Outcome, String)> {
        let mut spec = spec();
        spec.scrape_config.options = Arc::new(options);
        let namer = Namer::new(spec, Arc::new(Limits::default()));
        let lines = explained(page.as_bytes(), Format::Text, &namer, 100, NOW);
        lines
            .into_iter()
            .map(|line| {
                let Explanation { outcome, message, series, .. } = line.explanation;
                (line.line, outcome, series.and_then(|mut series| series.remove("le")).unwrap_or(message))
            })
            .collect()
    }

    #[test]
    fn lines_are_told_as_the_page_treats_them() {
        let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n  # x\nup 1\na 1\na 2\na 3 1750000000000\nb{le=\"1\"} 1\n";
        let second = "its series comes a second time, or is one that every scrape adds";
        let expected = [
            (2, Outcome::Stored, "1.0"),
            (4, Outcome::Refused, second),
            (5, Outcome::Stored, "it is stored"),
            (6, Outcome::Refused, second),
            (7, Outcome::Stored, "it is stored"),
            (8, Outcome::Stored, "1"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(line, outcome, text)| (*line, *outcome, (*text).to_owned())).collect();
        assert_eq!(told(page, ScrapeOptions::default()), expected);
    }

    #[test]
    fn lines_beyond_the_limit_are_cut_where_pages_are() {
        let cut = |on_limit| {
            let options = ScrapeOptions { sample_limit: 2, on_limit, ..ScrapeOptions::default() };
            told("a 1\nb 2\nc 3\n", options).into_iter().map(|line| line.1).collect::<Vec<_>>()
        };
        assert_eq!(cut(OnLimit::Truncate), [Outcome::Stored, Outcome::Stored, Outcome::Refused]);
        assert_eq!(cut(OnLimit::Reject), [Outcome::Stored; 3], "the page fails as a whole");
    }
}
