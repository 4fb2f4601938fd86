//! Histograms in writing:
//!
//! ```text
//! {{schema:1 count:5 sum:10 z_bucket:1 z_bucket_w:0.001 buckets:[1 2 3] offset:-3 n_buckets:[4 5] n_offset:2
//!   counter_reset_hint:gauge custom_values:[5 10]}}
//! ```
//!
//! Everything may be left out and then is 0 or empty. `offset` is the index of the first of the `buckets`. Among buckets
//! `_x7` stands for seven empty ones that are left out. The hints are `unknown`, `reset`, `not_reset` and `gauge`.

use std::fmt::Write as _;

use metricsd_model::{NativeHistogram, ResetHint};

use crate::number;

/// More empty buckets than these between others are not written one by one.
const WRITTEN_GAP: i64 = 8;

/// The text is no histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotationError(String);

/// Reads a histogram, with or without white space around it.
///
/// # Errors
/// A sentence that says what is wrong. Whether the histogram makes sense is not looked at.
pub fn parse(text: &str) -> Result<NativeHistogram, NotationError> {
    let inner = text.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    let mut rest = inner.ok_or_else(|| wrong("a histogram stands between {{ and }}"))?.trim_start();
    let mut fields = Fields::default();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or_else(|| wrong(format!("no value after {rest:?}")))?;
        let end = match after.strip_prefix('[') {
            Some(list) => {
                list.find(']').map(|end| end + 2).ok_or_else(|| wrong(format!("{key} lacks a ]")))?
            }
            None => after.find(char::is_whitespace).unwrap_or(after.len()),
        };
        let (value, after) = after.split_at(end);
        fields.set(key, value)?;
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return Err(wrong(format!("white space is missing after {key}")));
        }
        rest = after.trim_start();
    }
    fields.finish()
}

fn wrong(message: impl Into<String>) -> NotationError {
    NotationError(message.into())
}

#[derive(Default)]
struct Fields {
    histogram: NativeHistogram,
    seen: Vec<String>,
    positive: Vec<(i64, f64)>,
    negative: Vec<(i64, f64)>,
    offset: i32,
    negative_offset: i32,
}

impl Fields {
    fn set(&mut self, key: &str, value: &str) -> Result<(), NotationError> {
        if self.seen.iter().any(|seen| seen == key) {
            return Err(wrong(format!("{key} is there twice")));
        }
        let histogram = &mut self.histogram;
        match key {
            "schema" => histogram.schema = whole(key, value)?,
            "count" => histogram.count = float(key, value)?,
            "sum" => histogram.sum = float(key, value)?,
            "z_bucket" => histogram.zero_count = float(key, value)?,
            "z_bucket_w" => histogram.zero_threshold = float(key, value)?,
            "custom_values" => {
                histogram.custom_values =
                    list(key, value)?.map(|item| float(key, item)).collect::<Result<_, _>>()?;
            }
            "counter_reset_hint" => histogram.reset_hint = hint(value)?,
            "buckets" => self.positive = buckets(key, value)?,
            "n_buckets" => self.negative = buckets(key, value)?,
            "offset" => self.offset = whole(key, value)?,
            "n_offset" => self.negative_offset = whole(key, value)?,
            _ => return Err(wrong(format!("{key:?} is no part of a histogram"))),
        }
        self.seen.push(key.to_owned());
        Ok(())
    }

    fn finish(mut self) -> Result<NativeHistogram, NotationError> {
        let placed = |buckets: &[(i64, f64)], offset: i32| -> Result<Vec<(i32, f64)>, NotationError> {
            let place = |(step, count): &(i64, f64)| {
                let index = i32::try_from(step.saturating_add(i64::from(offset)));
                index.map(|index| (index, *count)).map_err(|_| wrong("a bucket's index is out of range"))
            };
            buckets.iter().map(place).collect()
        };
        self.histogram.set_positive(&placed(&self.positive, self.offset)?);
        self.histogram.set_negative(&placed(&self.negative, self.negative_offset)?);
        Ok(self.histogram)
    }
}

fn whole(key: &str, value: &str) -> Result<i32, NotationError> {
    value.parse().map_err(|_| wrong(format!("{key} is no whole number: {value:?}")))
}

fn float(key: &str, value: &str) -> Result<f64, NotationError> {
    value.parse().map_err(|_| wrong(format!("{key} is no number: {value:?}")))
}

fn hint(value: &str) -> Result<ResetHint, NotationError> {
    match value {
        "unknown" => Ok(ResetHint::Unknown),
        "reset" => Ok(ResetHint::Yes),
        "not_reset" => Ok(ResetHint::No),
        "gauge" => Ok(ResetHint::Gauge),
        _ => Err(wrong(format!("counter_reset_hint is none of unknown, reset, not_reset, gauge: {value:?}"))),
    }
}

fn list<'a>(key: &str, value: &'a str) -> Result<std::str::SplitWhitespace<'a>, NotationError> {
    let inner = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    inner.map(str::split_whitespace).ok_or_else(|| wrong(format!("{key} is no list: {value:?}")))
}

/// Counts with their distances from the first bucket.
fn buckets(key: &str, value: &str) -> Result<Vec<(i64, f64)>, NotationError> {
    let mut at = 0i64;
    let mut buckets = Vec::new();
    for item in list(key, value)? {
        if let Some(gap) = item.strip_prefix("_x") {
            let gap: u32 = gap.parse().map_err(|_| wrong(format!("{key} has a bad gap: {item:?}")))?;
            at = at.saturating_add(i64::from(gap));
        } else {
            buckets.push((at, float(key, item)?));
            at = at.saturating_add(1);
        }
    }
    Ok(buckets)
}

/// Writes a histogram so that [`parse`] gives it back; fields that are 0 or empty are left out.
pub fn write(histogram: &NativeHistogram) -> String {
    let mut out = String::new();
    if histogram.schema != 0 {
        put(&mut out, "schema", &histogram.schema.to_string());
    }
    for (key, value) in [
        ("count", histogram.count),
        ("sum", histogram.sum),
        ("z_bucket", histogram.zero_count),
        ("z_bucket_w", histogram.zero_threshold),
    ] {
        if value.to_bits() != 0 {
            put(&mut out, key, &number::format(value));
        }
    }
    put_side(&mut out, "", &histogram.indexed_positive());
    put_side(&mut out, "n_", &histogram.indexed_negative());
    match histogram.reset_hint {
        ResetHint::Unknown => {}
        ResetHint::Yes => put(&mut out, "counter_reset_hint", "reset"),
        ResetHint::No => put(&mut out, "counter_reset_hint", "not_reset"),
        ResetHint::Gauge => put(&mut out, "counter_reset_hint", "gauge"),
    }
    if !histogram.custom_values.is_empty() {
        let values: Vec<String> = histogram.custom_values.iter().copied().map(number::format).collect();
        put(&mut out, "custom_values", &format!("[{}]", values.join(" ")));
    }
    format!("{{{{{out}}}}}")
}

fn put(out: &mut String, key: &str, value: &str) {
    let space = if out.is_empty() { "" } else { " " };
    // Writing to a string cannot fail.
    let _ = write!(out, "{space}{key}:{value}");
}

fn put_side(out: &mut String, prefix: &str, buckets: &[(i32, f64)]) {
    let Some((first, _)) = buckets.first() else {
        return;
    };
    let mut items = Vec::with_capacity(buckets.len());
    let mut next = i64::from(*first);
    for (index, count) in buckets {
        let gap = i64::from(*index) - next;
        if gap <= WRITTEN_GAP {
            items.extend((0..gap).map(|_| "0".to_owned()));
        } else {
            items.push(format!("_x{gap}"));
        }
        items.push(number::format(*count));
        next = i64::from(*index) + 1;
    }
    put(out, &format!("{prefix}buckets"), &format!("[{}]", items.join(" ")));
    if *first != 0 {
        put(out, &format!("{prefix}offset"), &first.to_string());
    }
}
