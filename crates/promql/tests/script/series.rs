//! The notation of a series' samples: `1 2 _ _x3 stale 1+2x10 5-1x4 0x20 NaN {{…}}x3`.

use metricsd_model::NativeHistogram;

use super::histogram;

/// One place in a series.
#[derive(Debug, Clone)]
pub enum Slot {
    /// No sample.
    Missing,
    /// The series ends here.
    Stale,
    /// A number.
    Float(f64),
    /// A native histogram, and whether its reset hint was written.
    Histogram(Box<NativeHistogram>, bool),
}

/// Reads all samples of a line.
pub fn read(text: &str) -> Result<Vec<Slot>, String> {
    let mut slots = Vec::new();
    for token in tokens(text)? {
        read_token(&token, &mut slots)?;
    }
    Ok(slots)
}

/// Parts that stand between spaces; spaces inside of double braces do not count.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            let end = rest.find("}}").ok_or_else(|| format!("no closing braces in {rest:?}"))? + 2;
            token.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let (first, after) = rest.split_at(rest.chars().next().map_or(1, char::len_utf8));
        if first.trim().is_empty() {
            if !token.is_empty() {
                tokens.push(std::mem::take(&mut token));
            }
        } else {
            token.push_str(first);
        }
        rest = after;
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    Ok(tokens)
}

fn read_token(token: &str, slots: &mut Vec<Slot>) -> Result<(), String> {
    if token.starts_with("{{") {
        return read_histograms(token, slots);
    }
    if token == "stale" {
        slots.push(Slot::Stale);
        return Ok(());
    }
    if let Some(rest) = token.strip_prefix('_') {
        let times = if rest.is_empty() { 1 } else { repetitions(rest)? };
        slots.extend(std::iter::repeat_n(Slot::Missing, times));
        return Ok(());
    }
    let (first, rest) = number(token)?;
    if rest.is_empty() {
        slots.push(Slot::Float(first));
        return Ok(());
    }
    let (by, rest) = if rest.starts_with('x') { (0.0, rest) } else { number(rest)? };
    let mut value = first;
    for _ in 0..=repetitions(rest)? {
        slots.push(Slot::Float(value));
        value += by;
    }
    Ok(())
}

fn repetitions(text: &str) -> Result<usize, String> {
    let count = text.strip_prefix('x').and_then(|count| count.parse().ok());
    count.ok_or_else(|| format!("expected a number of repetitions at {text:?}"))
}

/// Reads a number at the beginning of `text`; answers it and what follows it.
pub fn number(text: &str) -> Result<(f64, &str), String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    for (word, value) in [("Inf", f64::INFINITY), ("inf", f64::INFINITY), ("NaN", f64::NAN)] {
        if let Some(rest) = unsigned.strip_prefix(word) {
            return Ok((sign * value, rest));
        }
    }
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(unsigned);
    if unsigned[end..].starts_with('.') {
        end += 1 + digits(&unsigned[end + 1..]);
    }
    if unsigned[end..].starts_with(['e', 'E']) {
        let exponent = &unsigned[end + 1..];
        let signed = usize::from(exponent.starts_with(['+', '-']));
        end += 1 + signed + digits(&exponent[signed..]);
    }
    let value: f64 = unsigned[..end].parse().map_err(|_| format!("expected a number at {text:?}"))?;
    Ok((sign * value, &unsigned[end..]))
}

/// `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`, `{{…}}-{{…}}x3`
fn read_histograms(token: &str, slots: &mut Vec<Slot>) -> Result<(), String> {
    let (first, rest) = one_histogram(token)?;
    let (mut value, hinted) = first;
    let mut push = |value: &NativeHistogram| slots.push(Slot::Histogram(Box::new(value.clone()), hinted));
    if rest.is_empty() {
        push(&value);
        return Ok(());
    }
    if rest.starts_with('x') {
        (0..=repetitions(rest)?).for_each(|_| push(&value));
        return Ok(());
    }
    let (sign, by) = rest.split_at(1);
    let ((by, _), rest) = one_histogram(by)?;
    for _ in 0..=repetitions(rest)? {
        push(&value);
        value = match sign {
            "+" => histogram::sum(&value, &by)?,
            "-" => histogram::difference(&value, &by)?,
            other => return Err(format!("expected + or - instead of {other:?}")),
        };
    }
    Ok(())
}

fn one_histogram(text: &str) -> Result<((NativeHistogram, bool), &str), String> {
    let end = text.find("}}").filter(|_| text.starts_with("{{"));
    let end = end.ok_or_else(|| format!("expected a histogram at {text:?}"))? + 2;
    Ok((histogram::read(&text[..end])?, &text[end..]))
}
