//! What was measured: one number a figure, server and run. Runs of several calls can be joined.

use std::path::Path;

use anyhow::{Context, Result};

use crate::server::Kind;

/// One number.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Row {
    /// Which figure, see [`crate::figures`].
    pub(crate) figure: String,
    /// Of which server.
    pub(crate) server: Kind,
    /// Ratios are taken inside one run.
    pub(crate) run: u64,
    /// In the figure's unit.
    pub(crate) value: f64,
}

/// Everything that was measured.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Results {
    /// Numbers, as they came.
    pub(crate) rows: Vec<Row>,
    /// Texts beside them, by name: plans, what was checked.
    #[serde(default)]
    pub(crate) notes: Vec<(String, String)>,
    #[serde(skip)]
    run: u64,
}

impl Results {
    /// What earlier calls have measured, or nothing.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let Ok(text) = std::fs::read_to_string(path) else { return Ok(Self::default()) };
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes everything down.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)?).with_context(|| path.display().to_string())
    }

    /// What follows belongs to another run.
    pub(crate) fn next_run(&mut self) {
        self.run = self.rows.iter().map(|row| row.run).max().unwrap_or(0) + 1;
    }

    /// Notes a number of the present run, and shows it.
    pub(crate) fn add(&mut self, figure: impl Into<String>, server: Kind, value: f64) {
        let figure = figure.into();
        println!("  {:<24} {figure:<26} {}", server.name(), crate::figures::shown(&figure, value));
        self.rows.push(Row { figure, server, run: self.run, value });
    }

    /// Notes a text; another one of the same name is replaced.
    pub(crate) fn note(&mut self, name: &str, text: impl Into<String>) {
        self.notes.retain(|(other, _)| other != name);
        self.notes.push((name.to_owned(), text.into()));
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.notes.iter().find(|(other, _)| other == name).map(|(_, text)| text.as_str())
    }

    /// The median over all runs.
    pub(crate) fn median(&self, figure: &str, server: Kind) -> Option<f64> {
        median(self.of(figure, server).map(|row| row.value).collect())
    }

    /// The median over the runs that have both of what one server is to another: above 1 is more.
    pub(crate) fn ratio(&self, figure: &str, server: Kind, other: Kind) -> Option<f64> {
        let beside = |row: &Row| {
            self.of(figure, other).find(|peer| peer.run == row.run).map(|peer| row.value / peer.value)
        };
        median(self.of(figure, server).filter_map(beside).filter(|ratio| ratio.is_finite()).collect())
    }

    /// Runs that have a figure.
    pub(crate) fn runs(&self, figure: &str, server: Kind) -> usize {
        self.of(figure, server).count()
    }

    fn of<'a>(&'a self, figure: &'a str, server: Kind) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.figure == figure && row.server == server)
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (lower, upper) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::{Results, median};
    use crate::server::Kind;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_stay_inside_a_run() {
        let mut results = Results::default();
        for (ours, theirs) in [(10.0, 5.0), (3.0, 1.0), (8.0, 8.0)] {
            results.next_run();
            results.add("write.rate", Kind::Timescale, ours);
            results.add("write.rate", Kind::Victoria, theirs);
        }
        results.next_run();
        results.add("write.rate", Kind::Timescale, 100.0);
        assert_eq!(results.ratio("write.rate", Kind::Timescale, Kind::Victoria), Some(2.0));
        assert_eq!(results.runs("write.rate", Kind::Timescale), 4);
    }
}
