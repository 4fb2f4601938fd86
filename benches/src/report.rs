//! What is written down: Markdown between two marks of a file, and pictures beside it.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::plot::{self, Axis};
use crate::results::Results;
use crate::server::Kind;
use crate::{figures, growth, protocols, system};

/// Replaces what stands between the two marks of a section.
pub(crate) fn replace(path: &Path, section: &str, text: &str) -> Result<()> {
    let (begin, end) =
        (format!("<!-- {section}: written by `make bench` -->"), format!("<!-- end of {section} -->"));
    let old = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (before, rest) =
        old.split_once(&begin).with_context(|| format!("{} has no {begin}", path.display()))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{} has no {end}", path.display()))?;
    std::fs::write(path, format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim_end()))?;
    Ok(())
}

/// When and on what it was measured.
pub(crate) fn occasion(load_before: &str) -> String {
    format!(
        "{}, {}; load average {load_before} before, {} after",
        chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"),
        system::machine(),
        system::load_average()
    )
}

/// The head of a table.
pub(crate) fn head(text: &mut String, first: &str, columns: impl IntoIterator<Item = String>) {
    let columns: Vec<String> = columns.into_iter().collect();
    let _ = writeln!(text, "| {first} | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(columns.len()));
}

/// All figures: the table, how they grow, the plan. Pictures go beside `path`.
pub(crate) fn figures(results: &Results, path: Option<&Path>) -> Result<String> {
    let mut text = String::new();
    if let Some(occasion) = results.text("occasion") {
        let runs = results.runs("write.rate", Kind::Timescale).max(results.runs("write.rate", Kind::Sqlite));
        let _ = writeln!(text, "{occasion}; {runs} runs of remote write.\n");
    }
    text.push_str(&figures::table(results));
    text.push_str(
        "\nIn brackets: how many times as good as Prometheus (P) and VictoriaMetrics (V) in the same run, medians of \
         these ratios. ✓ and ✗: whether the bars are reached.\n\n",
    );
    for kind in Kind::ALL {
        if let Some(parts) = results.text(&format!("disk, {}", kind.name())) {
            let _ = writeln!(text, "- Disk, {}: {parts}.", kind.name());
        }
    }
    protocols::table(&mut text, results);
    growing(&mut text, results, path)?;
    if let Some(plan) = results.text("plan") {
        let _ = writeln!(text, "\nHow SQL reads one metric of the compacted hour:\n\n```text\n{plan}\n```");
    }
    Ok(text)
}

/// Sizes that were measured: numbers of series, numbers of senders.
fn sizes(results: &Results) -> (Vec<usize>, Vec<usize>) {
    let parts = results.rows.iter().filter_map(|row| {
        let (series, senders) = row.figure.strip_prefix("growth.rate/")?.split_once('/')?;
        Some((series.parse::<usize>().ok()?, senders.parse::<usize>().ok()?))
    });
    let (mut series, mut senders): (Vec<usize>, Vec<usize>) = parts.unzip();
    for list in [&mut series, &mut senders] {
        list.sort_unstable();
        list.dedup();
    }
    (series, senders)
}

fn growing(text: &mut String, results: &Results, path: Option<&Path>) -> Result<()> {
    let (series, senders) = sizes(results);
    let Some(most) = senders.last().copied() else { return Ok(()) };
    let middle = series.get(series.len() / 2).copied().unwrap_or_default();
    text.push_str(
        "\n### Growth\n\nSamples a second, CPU a sample (database included), peak memory of the process.\n\n",
    );
    head(text, "series, senders", Kind::ALL.map(|kind| kind.name().to_owned()));
    for &series in &series {
        for &senders in &senders {
            let _ = write!(text, "| {series}, {senders} |");
            for kind in Kind::ALL {
                let shown = ["rate", "cpu", "peak"].map(|figure| {
                    let name = growth::name(figure, series, senders);
                    results.median(&name, kind).map(|value| figures::shown(&name, value))
                });
                let _ = match shown {
                    [Some(rate), Some(cpu), Some(peak)] => write!(text, " {rate}, {cpu}, {peak} |"),
                    _ => write!(text, " |"),
                };
            }
            text.push('\n');
        }
    }
    let Some(folder) = path.and_then(Path::parent) else { return Ok(()) };
    for (file, axis, at, about) in [
        ("growth-series.svg", Axis::Series(most), &series, "Growth with the number of series"),
        ("growth-senders.svg", Axis::Senders(middle), &senders, "Growth with the number of senders"),
    ] {
        if plot::draw(results, &folder.join(file), axis, at)? {
            let _ = writeln!(text, "\n![{about}]({file})");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{figures, replace, sizes};
    use crate::growth;
    use crate::results::Results;
    use crate::server::Kind;

    #[test]
    fn only_the_section_is_replaced() {
        let path = std::env::temp_dir().join(format!("metricsd-report-{}.md", std::process::id()));
        let marks = "<!-- x: written by `make bench` -->old<!-- end of x -->";
        std::fs::write(&path, format!("before {marks} after")).unwrap();
        replace(&path, "x", "new\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(replace(&path, "y", "").is_err());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "before <!-- x: written by `make bench` -->\n\nnew\n\n<!-- end of x --> after");
    }

    #[test]
    fn sizes_are_those_that_were_measured() {
        let mut results = Results::default();
        for (series, senders) in [(1000, 4), (100, 1), (1000, 1)] {
            for figure in ["rate", "cpu", "peak"] {
                results.add(growth::name(figure, series, senders), Kind::Sqlite, 1.0);
            }
        }
        assert_eq!(sizes(&results), (vec![100, 1000], vec![1, 4]));
        let text = figures(&results, None).unwrap();
        assert!(text.contains("| 1000, 4 | | 0 k/s, 1.000 us, 1.0 MiB | | |"), "{text}");
    }
}
