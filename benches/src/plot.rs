//! Growth as pictures: rate, processor time and memory over series or over senders, a line a server.
//!
//! No background, and colours in between, so that they can be read on a light page and on a dark one.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use crate::growth;
use crate::results::Results;
use crate::server::Kind;

const GREY: RGBColor = RGBColor(0x7d, 0x85, 0x90);
const WIDTH: u32 = 1080;
const HEIGHT: u32 = 330;

/// What grows from left to right.
#[derive(Clone, Copy)]
pub(crate) enum Axis {
    /// Series, at this many senders.
    Series(usize),
    /// Senders, at this many series.
    Senders(usize),
}

impl Axis {
    fn label(self) -> String {
        match self {
            Self::Series(senders) => format!("series ({senders} senders)"),
            Self::Senders(series) => format!("senders ({} series)", amount(series as f64)),
        }
    }

    fn name(self, figure: &str, at: usize) -> String {
        match self {
            Self::Series(senders) => growth::name(figure, at, senders),
            Self::Senders(series) => growth::name(figure, series, at),
        }
    }
}

/// A panel: which figure, its title, and by how much its numbers are divided.
const PANELS: [(&str, &str, f64); 3] = [
    ("rate", "million samples a second", 1e6),
    ("cpu", "CPU a sample, us (with database)", 1.0),
    ("peak", "peak memory of the process, MiB", 1.0),
];

type Line = (Kind, Vec<(f64, f64)>);

/// Draws the three panels side by side; does nothing where there is nothing to draw.
pub(crate) fn draw(results: &Results, path: &Path, axis: Axis, at: &[usize]) -> Result<bool> {
    let lines = |figure: &str, divisor: f64| -> Vec<Line> {
        let points = |kind: Kind| {
            let point =
                |at: &usize| Some((*at as f64, results.median(&axis.name(figure, *at), kind)? / divisor));
            at.iter().filter_map(point).collect::<Vec<_>>()
        };
        Kind::ALL
            .into_iter()
            .map(|kind| (kind, points(kind)))
            .filter(|(_, points)| points.len() > 1)
            .collect()
    };
    let panels: Vec<_> =
        PANELS.iter().map(|(figure, title, divisor)| (*title, lines(figure, *divisor))).collect();
    if panels.iter().all(|(_, lines)| lines.is_empty()) {
        return Ok(false);
    }
    let root = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    let (upper, legend) = root.split_vertically(HEIGHT - 30);
    for ((title, lines), area) in panels.iter().zip(upper.split_evenly((1, PANELS.len()))) {
        panel(&area, title, axis, lines).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    names(&legend, panels.first().map_or(&[], |(_, lines)| lines))
        .and_then(|()| root.present().map_err(|error| anyhow!("{error}")))?;
    Ok(true)
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Timescale => RGBColor(0x2f, 0x81, 0xf7),
        Kind::Sqlite => RGBColor(0x2d, 0xa4, 0x4e),
        Kind::Prometheus => RGBColor(0xe5, 0x53, 0x4b),
        Kind::Victoria => RGBColor(0x9a, 0x67, 0xd8),
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn panel(area: &Area<'_>, title: &str, axis: Axis, lines: &[Line]) -> Result<()> {
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let fold = |pick: fn((f64, f64)) -> f64, start: f64, best: fn(f64, f64) -> f64| {
        all().map(pick).fold(start, best)
    };
    let (least, most) = (fold(|p| p.0, f64::INFINITY, f64::min), fold(|p| p.0, 1.0, f64::max));
    let top = fold(|p| p.1, 1e-9, f64::max) * 1.1;
    match axis {
        Axis::Series(_) => chart(area, title, axis, lines, ((least * 0.8)..(most * 1.25)).log_scale(), top),
        Axis::Senders(_) => chart(area, title, axis, lines, 0.0..most * 1.1, top),
    }
}

fn chart<X>(area: &Area<'_>, title: &str, axis: Axis, lines: &[Line], x: X, top: f64) -> Result<()>
where
    X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    X::CoordDescType: plotters::coord::ranged1d::Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let fail = |error: DrawingAreaErrorKind<std::io::Error>| anyhow!("{error}");
    let text = |size: i32| ("sans-serif", size).into_font().color(&GREY);
    let y: Range<f64> = 0.0..top;
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(14))
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(44)
        .build_cartesian_2d(x, y)
        .map_err(fail)?;
    chart
        .configure_mesh()
        .axis_style(GREY)
        .bold_line_style(GREY.mix(0.25))
        .light_line_style(TRANSPARENT)
        .label_style(text(12))
        .axis_desc_style(text(12))
        .x_desc(axis.label())
        .x_labels(4)
        .y_labels(6)
        .x_label_formatter(&|value| amount(*value))
        .y_label_formatter(&|value| amount(*value))
        .draw()
        .map_err(fail)?;
    for (kind, points) in lines {
        let colour = colour(*kind);
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2))).map_err(fail)?;
        chart
            .draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))
            .map_err(fail)?;
    }
    Ok(())
}

/// Which line is whose.
fn names(area: &Area<'_>, lines: &[Line]) -> Result<()> {
    for (place, (kind, _)) in lines.iter().enumerate() {
        let left = 60 + place as i32 * 240;
        let colour = colour(*kind);
        let fail = |error: DrawingAreaErrorKind<std::io::Error>| anyhow!("{error}");
        area.draw(&PathElement::new([(left, 14), (left + 24, 14)], colour.stroke_width(2))).map_err(fail)?;
        let style = ("sans-serif", 13).into_font().color(&GREY);
        area.draw(&Text::new(kind.name(), (left + 32, 8), style)).map_err(fail)?;
    }
    Ok(())
}

/// A number in few characters.
fn amount(value: f64) -> String {
    let short = |value: f64| {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match value {
        above if above >= 1e6 => format!("{} M", short(value / 1e6)),
        above if above >= 1e4 => format!("{} k", short(value / 1e3)),
        _ => short(value),
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, amount, draw};
    use crate::growth;
    use crate::results::Results;
    use crate::server::Kind;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.25, 400.0, 10_000.0, 1.5e6].map(amount), ["0.25", "400", "10 k", "1.5 M"]);
    }

    #[test]
    fn a_line_a_server_is_drawn() {
        let mut results = Results::default();
        results.next_run();
        let path = std::env::temp_dir().join(format!("metricsd-plot-{}.svg", std::process::id()));
        assert!(!draw(&results, &path, Axis::Series(4), &[10, 100]).unwrap());
        for figure in ["rate", "cpu", "peak"] {
            for series in [10_000, 100_000, 1_000_000] {
                results.add(growth::name(figure, series, 4), Kind::Timescale, 1e6);
                results.add(growth::name(figure, series, 4), Kind::Victoria, 5e5);
            }
        }
        assert!(draw(&results, &path, Axis::Series(4), &[10_000, 100_000, 1_000_000]).unwrap());
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(svg.matches("<circle").count(), 18);
        assert!(svg.contains("VictoriaMetrics") && svg.contains("100 k"));
    }
}
