//! A range as a chart in the terminal: braille dots, or one marker a series where several must be told apart without
//! colours.

mod canvas;
mod scale;

use std::io::{self, Write};

use metricsd_model::Millis;
use metricsd_model::event::rfc3339;

use super::answer::{Sample, Series};
use super::terminal::Screen;
use crate::cli::output;
use canvas::{Canvas, Ink};
use scale::Scale;

/// Series that are drawn.
const MAX_SERIES: usize = 8;
/// Rows of the plot: with axis and legend it fits a terminal of 24 lines.
const ROWS: usize = 13;
/// Rows from one label of the value axis to the next; the first and the last row have one.
const ROWS_A_LABEL: usize = 3;
/// Fewest columns of the plot, however narrow the terminal is.
const MIN_COLUMNS: usize = 20;

/// Ranges shorter than this have milliseconds on their axis.
const FINE: Millis = 10_000;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// The first moment.
    pub(super) start: Millis,
    /// The last moment.
    pub(super) end: Millis,
    /// Time between two points; points further apart have a gap between them.
    pub(super) step: Option<Millis>,
}

/// A series as it is drawn.
struct Line {
    name: String,
    points: Vec<(Millis, f64)>,
}

/// Draws series; without a window, from the first to the last sample.
pub(super) fn print(
    out: &mut impl Write,
    series: &[Series],
    window: Option<Window>,
    screen: Screen,
) -> io::Result<()> {
    let lines: Vec<Line> = series.iter().take(MAX_SERIES).map(Line::of).collect();
    let finite = || lines.iter().flat_map(|line| &line.points).filter(|(_, value)| value.is_finite());
    let window = window.or_else(|| {
        let (start, end) = (finite().map(|(at, _)| *at).min()?, finite().map(|(at, _)| *at).max()?);
        Some(Window { start, end, step: None })
    });
    let scale = Scale::over(finite().map(|(_, value)| *value));
    match (window, scale) {
        (Some(window), Some(scale)) => draw(out, &lines, window, &scale, screen)?,
        _ if series.is_empty() => writeln!(out, "no series")?,
        _ => writeln!(out, "no finite value to draw")?,
    }
    if !lines.is_empty() {
        legend(out, &lines, screen)?;
    }
    if series.len() > lines.len() {
        let rest = series.len() - lines.len();
        writeln!(out, "and {rest} more series that are not drawn; topk chooses, --output table shows all")?;
    }
    out.flush()
}

impl Line {
    /// Floats as they are; of a series that has nothing but histograms, how many observations they count.
    fn of(series: &Series) -> Self {
        let mut name = output::series(&series.metric);
        let number = |text: &str| text.parse().unwrap_or(f64::NAN);
        let (mut floats, mut counts) = (Vec::new(), Vec::new());
        for (at, sample) in series.samples() {
            match sample {
                Sample::Float(value) => floats.push((at, number(value))),
                Sample::Histogram(histogram) => counts.push((at, number(&histogram.count))),
            }
        }
        let points = match (floats.is_empty(), counts.len()) {
            (_, 0) => floats,
            (true, _) => {
                name += " (counts of histograms)";
                counts
            }
            (false, histograms) => {
                name += &format!(" (without {histograms} histograms)");
                floats
            }
        };
        Self { name, points }
    }
}

fn draw(
    out: &mut impl Write,
    lines: &[Line],
    window: Window,
    scale: &Scale,
    screen: Screen,
) -> io::Result<()> {
    let labels = scale.labels((ROWS - 1) / ROWS_A_LABEL + 1);
    let gutter = labels.iter().map(String::len).max().unwrap_or(0);
    let columns = screen.width.saturating_sub(gutter + 2).max(MIN_COLUMNS);
    let mut canvas = Canvas::new(columns, ROWS);
    for (owner, line) in lines.iter().enumerate() {
        trace(&mut canvas, line, owner, window, scale);
    }
    let ink = ink(lines, screen);
    for row in 0..ROWS {
        let label = labels.get(row / ROWS_A_LABEL).filter(|_| row % ROWS_A_LABEL == 0);
        let (label, tick) = label.map_or(("", '│'), |label| (label, '┤'));
        writeln!(out, "{}", format!("{label:>gutter$} {tick}{}", canvas.row(row, ink)).trim_end())?;
    }
    writeln!(out, "{:gutter$} └{}", "", "─".repeat(columns))?;
    writeln!(out, "{:gutter$}  {}", "", times(window, columns).trim_end())
}

/// Draws one series: a line where points follow each other, and nothing where one is missing or not finite.
fn trace(canvas: &mut Canvas, line: &Line, owner: usize, window: Window, scale: &Scale) {
    let span = window.end.saturating_sub(window.start) as f64;
    let (right, bottom) = canvas.corner();
    let place = |at: Millis, value: f64| {
        let part = if span > 0.0 { at.saturating_sub(window.start) as f64 / span } else { 0.5 };
        let x = (part.clamp(0.0, 1.0) * right as f64).round() as usize;
        let y = ((1.0 - scale.part(value)) * bottom as f64).round() as usize;
        (x, y)
    };
    let follows = |earlier: Millis, later: Millis| {
        window.step.is_none_or(|step| later.saturating_sub(earlier) <= step.saturating_add(step / 2))
    };
    // Strokes: the places of points that follow each other.
    let mut strokes: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut last = None;
    for (at, value) in &line.points {
        if !value.is_finite() {
            last = None;
            continue;
        }
        match (strokes.last_mut(), last) {
            (Some(stroke), Some(last)) if follows(last, *at) => stroke.push(place(*at, *value)),
            _ => strokes.push(vec![place(*at, *value)]),
        }
        last = Some(*at);
    }
    for stroke in strokes {
        canvas.stroke(&stroke, owner);
    }
}

/// Times under the plot: at both ends, and in the middle where there is room.
fn times(window: Window, columns: usize) -> String {
    let fine = window.end.saturating_sub(window.start) < FINE;
    let text = |at: Millis| match rfc3339(at).split_once('.') {
        Some((seconds, fraction)) if !fine || fraction == "000Z" => format!("{seconds}Z"),
        _ => rfc3339(at),
    };
    let (start, end) = (text(window.start), text(window.end));
    if window.start == window.end {
        return format!("{start:^columns$}");
    }
    let Some(blank) = columns.checked_sub(start.len() + end.len()).filter(|blank| *blank > 0) else {
        return format!("{start} to {end}");
    };
    let middle = text(window.start / 2 + window.end / 2);
    // At least two blanks on both sides.
    if blank < middle.len() + 4 {
        return format!("{start}{:blank$}{end}", "");
    }
    format!("{start}{middle:^blank$}{end}")
}

fn ink(lines: &[Line], screen: Screen) -> Ink {
    match (screen.colours, lines.len()) {
        (true, _) => Ink::Colours,
        (false, 1) => Ink::Plain,
        (false, _) => Ink::Markers,
    }
}

/// Marker, extremes and newest value of every series that is drawn.
fn legend(out: &mut impl Write, lines: &[Line], screen: Screen) -> io::Result<()> {
    let mut table = output::table(&["min", "max", "last", "series"]);
    for line in lines {
        let finite = || line.points.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), scale::short);
        table.add_row([
            shown(finite().reduce(f64::min)),
            shown(finite().reduce(f64::max)),
            shown(line.points.last().map(|(_, value)| *value)),
            line.name.clone(),
        ]);
    }
    let mut text = Vec::new();
    output::print_table(&mut text, &table)?;
    let ink = ink(lines, screen);
    for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
        match index.checked_sub(1) {
            Some(owner) => writeln!(out, "{} {line}", ink.sample(owner))?,
            None => writeln!(out, "  {line}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
