//! The tables: Markdown, so that what is printed is what is written down.

use std::fmt::Write;

use super::Measured;
use super::queries::{Asked, QUESTIONS, Way};
use crate::report::{head, occasion};
use crate::requests::Sent;

/// Everything that was measured. The first server is what the others are compared with.
pub(super) fn text(measured: &[Measured], sent: &Sent, steps: u32, load_before: &str) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}. {} series, {steps} samples each, one every 15 s.\n",
        occasion(load_before),
        sent.series
    );
    taking_in(&mut text, measured);
    answering(&mut text, measured);
    reading(&mut text, measured);
    text
}

fn taking_in(text: &mut String, measured: &[Measured]) {
    let columns = ["samples/s", "CPU a sample", "peak memory taking in", "peak memory answering"];
    head(text, "server", columns.map(str::to_owned));
    for one in measured {
        let [taking_in, answering] = one.peaks;
        let _ = writeln!(
            text,
            "| {} | {:.0} k | {:.2} us | {taking_in:.0} MB | {answering:.0} MB |",
            one.name,
            one.rate / 1e3,
            one.cpu
        );
    }
    text.push('\n');
}

fn answering(text: &mut String, measured: &[Measured]) {
    head(text, "question (median)", measured.iter().map(|one| one.name.clone()));
    for (place, question) in QUESTIONS.iter().enumerate() {
        let _ = write!(text, "| {} |", question.name);
        let first = measured.first().and_then(|one| one.asked.get(place)?.as_ref().ok());
        for (column, one) in measured.iter().enumerate() {
            let _ = match (one.asked.get(place), first) {
                (Some(Ok(asked)), Some(first)) if column > 0 => {
                    let mark = if agree(asked, first) { "" } else { " *" };
                    write!(text, " {} ({:.2}){mark} |", millis(asked.seconds), first.seconds / asked.seconds)
                }
                (Some(Ok(asked)), _) => write!(text, " {} |", millis(asked.seconds)),
                _ => write!(text, " failed |"),
            };
        }
        text.push('\n');
    }
    for kind in [false, true] {
        let of_kind = |way: &Way| matches!(way, Way::LookUp(_)) == kind;
        let _ = write!(text, "| median of {} |", if kind { "look-ups" } else { "queries" });
        for one in measured {
            let places = (0..QUESTIONS.len()).filter(|place| of_kind(&QUESTIONS[*place].way));
            let mut factors: Vec<f64> = places.filter_map(|place| factor(measured, one, place)).collect();
            factors.sort_by(f64::total_cmp);
            let _ = match factors.get(factors.len() / 2) {
                Some(median) => write!(text, " ({median:.2}) |"),
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
    text.push_str(
        "\nIn brackets: how many times as fast as Prometheus; below 1 is slower. An asterisk: the answer is not the same \
         as Prometheus'.\n\n",
    );
}

fn factor(measured: &[Measured], one: &Measured, place: usize) -> Option<f64> {
    let first = measured.first()?.asked.get(place)?.as_ref().ok()?;
    Some(first.seconds / one.asked.get(place)?.as_ref().ok()?.seconds)
}

/// As many entries, and values that come to the same but for the order in which they are added up.
fn agree(one: &Asked, other: &Asked) -> bool {
    let apart = (one.total - other.total).abs();
    one.entries == other.entries && apart <= 1e-6 * one.total.abs().max(other.total.abs())
}

/// Where metricsd spends the time of a query.
fn reading(text: &mut String, measured: &[Measured]) {
    let telling: Vec<&Measured> = measured.iter().filter(|one| one.name.starts_with("metricsd")).collect();
    let columns = telling.iter().flat_map(|one| [format!("{}: reading", one.name), "all else".to_owned()]);
    head(text, "where the time goes (medians)", columns);
    for (place, question) in QUESTIONS.iter().enumerate() {
        if matches!(question.way, Way::LookUp(_)) {
            continue;
        }
        let _ = write!(text, "| {} |", question.name);
        for one in &telling {
            let _ = match one.asked.get(place) {
                Some(Ok(Asked { seconds, reading: Some(reading), .. })) => {
                    write!(text, " {} | {} |", millis(*reading), millis((seconds - reading).max(0.0)))
                }
                _ => write!(text, " | |"),
            };
        }
        text.push('\n');
    }
}

fn millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}
