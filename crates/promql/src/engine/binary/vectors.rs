//! Arithmetic and comparisons between two vectors.
//!
//! One side is the "one" side: at each step at most one of its series may have a signature. The other side's series
//! look for theirs there. Whether a match is ambiguous is decided step by step, since series come and go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use metricsd_model::LabelSet;

use super::sample::{Outcome, compute};
use super::{Refused, drops_name, matching::Signatures};
use crate::QueryError;
use crate::ast::{Binary, Cardinality, Matching, Place};
use crate::engine::context::{Context, failed};
use crate::engine::data::{Point, Series, without_empty};
use crate::engine::names;
use crate::engine::times::Steps;

const MANY_MATCHES: &str =
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
const NOT_UNIQUE: &str = "multiple matches for labels: grouping labels must ensure unique matches";

pub(super) fn eval(
    context: &Context<'_>,
    binary: &Binary,
    place: &Place,
    left: &[Series],
    right: &[Series],
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let Some(matching) = &binary.matching else { return Ok(Vec::new()) };
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let signatures = Signatures::of(left, right, matching);
    let (many, many_signatures, one, one_signatures) = if swapped {
        (right, &signatures.right, left, &signatures.left)
    } else {
        (left, &signatures.left, right, &signatures.right)
    };
    // Prometheus does not turn these around for `group_right`, so that left is the side of many there too.
    let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
    let filled = fill_many.is_some() || fill_one.is_some();
    let join = Join { context, binary, matching, place, swapped, steps };
    let ones = signatures.members(one_signatures);
    join.check_one_side(many, one, &ones, &signatures, filled)?;
    let mut output = Output::default();
    for (series, signature) in many.iter().zip(many_signatures) {
        context.control.check()?;
        join.match_one(series, *signature, one, &ones[*signature], fill_one, &mut output)?;
    }
    if let Some(fill) = fill_many {
        join.fill_many(fill, one, one_signatures, &signatures, &mut output)?;
    }
    output.refused.remark(context, place);
    let result = without_empty(output.series);
    drop(context.control.hold(result.len(), result.len().saturating_mul(steps.count))?);
    names::unify(result)
}

struct Join<'j> {
    context: &'j Context<'j>,
    binary: &'j Binary,
    matching: &'j Matching,
    place: &'j Place,
    /// The "one" side stands on the left.
    swapped: bool,
    steps: Steps,
}

/// Result series by what they were computed from.
#[derive(Default)]
struct Output {
    series: Vec<Series>,
    /// (signature, labels) -> index of the series
    places: HashMap<(usize, LabelSet), usize>,
    /// Steps of each series at which a pair was found for it, whatever a comparison made of it.
    paired: Vec<Vec<bool>>,
    /// Steps of a signature at which a match was found already, where that matters.
    matched: HashMap<usize, Vec<bool>>,
    refused: Refused,
}

impl Output {
    fn place(&mut self, signature: usize, labels: LabelSet, drop_name: bool, steps: usize) -> usize {
        match self.places.entry((signature, labels)) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(vacant) => {
                let series = Series::empty(vacant.key().1.clone(), drop_name, steps);
                self.series.push(series);
                self.paired.push(vec![false; steps]);
                *vacant.insert(self.series.len() - 1)
            }
        }
    }
}

impl Join<'_> {
    /// At no step may two series of the "one" side have the same signature, unless the other side is empty then.
    fn check_one_side(
        &self,
        many: &[Series],
        one: &[Series],
        ones: &[Vec<usize>],
        signatures: &Signatures,
        filled: bool,
    ) -> Result<(), QueryError> {
        let mut any: Option<Vec<bool>> = None;
        for (signature, members) in ones.iter().enumerate().filter(|(_, members)| members.len() > 1) {
            for step in 0..self.steps.count {
                let mut present = members.iter().filter(|index| one[**index].is_present(step));
                let (Some(first), Some(second)) = (present.next(), present.next()) else { continue };
                let any = any.get_or_insert_with(|| {
                    (0..self.steps.count)
                        .map(|step| many.iter().any(|series| series.is_present(step)))
                        .collect()
                });
                if any[step] || filled {
                    let side = if self.swapped { "left" } else { "right" };
                    return Err(failed(format!(
                        "found duplicate series for the match group {} on the {side} hand-side of the operation: \
                         [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                        braces(&signatures.labels[signature]),
                        braces(&one[*second].labels),
                        braces(&one[*first].labels)
                    )));
                }
            }
        }
        Ok(())
    }

    /// One series of the "many" side with whatever it finds at each step.
    fn match_one(
        &self,
        series: &Series,
        signature: usize,
        one: &[Series],
        members: &[usize],
        fill_one: Option<f64>,
        output: &mut Output,
    ) -> Result<(), QueryError> {
        for member in members {
            let other = &one[*member];
            let labels = self.result_labels(&series.labels, &other.labels);
            self.pair(series, other, signature, labels, output)?;
        }
        let Some(fill) = fill_one else { return Ok(()) };
        let mut missing = Series::empty(self.matched_labels(&series.labels), false, self.steps.count);
        for step in 0..self.steps.count {
            if !members.iter().any(|member| one[*member].is_present(step)) {
                missing.set_float(step, fill);
            }
        }
        let labels = self.result_labels(&series.labels, &missing.labels);
        self.pair(series, &missing, signature, labels, output)
    }

    /// Series of the "one" side that met nothing meet a constant instead; those that the operator means nothing for have
    /// met nothing.
    fn fill_many(
        &self,
        fill: f64,
        one: &[Series],
        one_signatures: &[usize],
        signatures: &Signatures,
        output: &mut Output,
    ) -> Result<(), QueryError> {
        for (other, signature) in one.iter().zip(one_signatures) {
            let mut missing = Series::empty(signatures.labels[*signature].clone(), false, self.steps.count);
            for step in 0..self.steps.count {
                if output.matched.get(signature).is_none_or(|matched| !matched[step]) {
                    missing.set_float(step, fill);
                }
            }
            let labels = self.result_labels(&missing.labels, &other.labels);
            self.pair(&missing, other, *signature, labels, output)?;
        }
        Ok(())
    }

    /// Two series at all steps at which both have a value.
    fn pair(
        &self,
        many: &Series,
        one: &Series,
        signature: usize,
        labels: LabelSet,
        output: &mut Output,
    ) -> Result<(), QueryError> {
        let delayed = self.context.settings.delayed_names;
        let labels = if self.binary.return_bool && !delayed { labels.without_metric_name() } else { labels };
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let mut place = None;
        for step in 0..self.steps.count {
            let (many_point, one_point) = (many.point(step), one.point(step));
            if many_point.is_absent() || one_point.is_absent() {
                continue;
            }
            let (left, right) = if self.swapped { (one_point, many_point) } else { (many_point, one_point) };
            let result = match self.result(left, right, step, &mut output.refused) {
                Found::Refused => continue,
                result => result,
            };
            let place = *place.get_or_insert_with(|| {
                output.place(signature, labels.clone(), self.binary.return_bool, self.steps.count)
            });
            if one_to_one || self.matching.fill_left.is_some() {
                let matched =
                    output.matched.entry(signature).or_insert_with(|| vec![false; self.steps.count]);
                if std::mem::replace(&mut matched[step], true) && one_to_one {
                    return Err(failed(MANY_MATCHES));
                }
            }
            if std::mem::replace(&mut output.paired[place][step], true) {
                return Err(failed(NOT_UNIQUE));
            }
            let series = &mut output.series[place];
            match result {
                Found::Nothing | Found::Refused => {}
                Found::Float(value) => series.set_float(step, value),
                Found::Left => series.set(step, left),
                Found::Histogram(histogram) => series.set_histogram(step, histogram.into()),
            }
        }
        Ok(())
    }

    fn result(&self, left: Point<'_>, right: Point<'_>, step: usize, refused: &mut Refused) -> Found {
        match compute(self.binary.op, left, right) {
            Outcome::Float(value) => Found::Float(value),
            Outcome::Histogram(histogram, remarks) => {
                remarks.iter().for_each(|remark| self.context.remark(remark, self.place));
                Found::Histogram(histogram)
            }
            Outcome::Keep(kept) if self.binary.return_bool => Found::Float(f64::from(u8::from(kept))),
            Outcome::Keep(true) => Found::Left,
            Outcome::Keep(false) => Found::Nothing,
            Outcome::Nothing(remark) => {
                refused.note(step, remark);
                Found::Refused
            }
        }
    }

    /// The labels by which a series is matched, as a series of their own.
    fn matched_labels(&self, labels: &LabelSet) -> LabelSet {
        super::matching::signature(labels, self.matching)
    }

    /// Those of the "many" side, less what does not describe the result, plus what is taken over from the "one" side.
    fn result_labels(&self, many: &LabelSet, one: &LabelSet) -> LabelSet {
        let name_goes = drops_name(self.binary) && !self.binary.return_bool;
        let mut labels = if name_goes { many.without_metric_name() } else { many.clone() };
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = if self.matching.on {
                labels.keep(&self.matching.labels)
            } else {
                labels.without(&self.matching.labels)
            };
        }
        for name in &self.matching.include {
            labels = labels.with(name, one.get(name).unwrap_or(""));
        }
        labels
    }
}

enum Found {
    Float(f64),
    /// The left operand as it is.
    Left,
    Histogram(metricsd_model::NativeHistogram),
    /// The comparison does not hold. The two have met all the same.
    Nothing,
    /// The operator means nothing for the two, which then have not even met.
    Refused,
}

/// Labels as messages show them: `{__name__="up", job="node"}`.
fn braces(labels: &LabelSet) -> String {
    let pairs: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
