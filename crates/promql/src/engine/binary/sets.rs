//! `and`, `or`, `unless`: samples of one vector, by what the other has at the same step.

use crate::QueryError;
use crate::ast::{Binary, BinaryOp};
use crate::engine::binary::matching::Signatures;
use crate::engine::context::Context;
use crate::engine::data::{Point, Series, without_empty};
use crate::engine::names;
use crate::engine::times::Steps;

pub(super) fn eval(
    context: &Context<'_>,
    binary: &Binary,
    mut left: Vec<Series>,
    mut right: Vec<Series>,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let Some(matching) = &binary.matching else { return Ok(left) };
    let signatures = Signatures::of(&left, &right, matching);
    context.control.check()?;
    match binary.op {
        BinaryOp::And => {
            let present = Presence::of(&right, &signatures.right, signatures.labels.len(), steps);
            retain(&mut left, &signatures.left, |signature, step| present.has(signature, step));
        }
        BinaryOp::Unless => {
            let present = Presence::of(&right, &signatures.right, signatures.labels.len(), steps);
            retain(&mut left, &signatures.left, |signature, step| !present.has(signature, step));
        }
        _ => {
            let present = Presence::of(&left, &signatures.left, signatures.labels.len(), steps);
            retain(&mut right, &signatures.right, |signature, step| !present.has(signature, step));
            left.append(&mut right);
            // A series of both sides is one: here the left one's values, there the right one's.
            return names::unify(without_empty(left));
        }
    }
    Ok(without_empty(left))
}

/// At which steps any series of a signature has a value.
struct Presence {
    steps: usize,
    present: Vec<bool>,
}

impl Presence {
    fn of(series: &[Series], signatures: &[usize], distinct: usize, steps: Steps) -> Self {
        let mut present = vec![false; distinct * steps.count];
        for (series, signature) in series.iter().zip(signatures) {
            for step in 0..steps.count {
                present[signature * steps.count + step] |= series.is_present(step);
            }
        }
        Self { steps: steps.count, present }
    }

    fn has(&self, signature: usize, step: usize) -> bool {
        self.present[signature * self.steps + step]
    }
}

fn retain(series: &mut [Series], signatures: &[usize], keep: impl Fn(usize, usize) -> bool) {
    for (series, signature) in series.iter_mut().zip(signatures) {
        for step in 0..series.len() {
            if series.is_present(step) && !keep(*signature, step) {
                series.set(step, Point::Absent);
            }
        }
    }
}
