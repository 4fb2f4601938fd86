//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` over classic and native histograms.

use metricsd_model::{LabelSet, NativeHistogram};

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::{Call, Place};
use crate::engine::context::Context;
use crate::engine::data::{Series, Value, without_empty};
use crate::engine::hash::LabelMap;
use crate::engine::names;
use crate::engine::times::Steps;
use crate::functions::buckets::{self, Bucket};
use crate::histogram::{self, NanRemark};

/// The label that carries the upper bound of a classic bucket.
const BUCKET: &str = "le";

/// Series that are one histogram at each step: buckets of a classic one, or a native one.
struct Group<'s> {
    /// Labels without the bound.
    labels: LabelSet,
    drop_name: bool,
    /// (upper bound, the series of the bucket)
    buckets: Vec<(f64, &'s Series)>,
    native: Option<&'s Series>,
}

/// What is asked of one histogram; remarks are made on the way.
trait Question {
    fn classic(&self, buckets: &mut Vec<Bucket>, step: usize, metric: &str) -> f64;
    fn native(&self, histogram: &NativeHistogram, step: usize, metric: &str) -> f64;
}

pub(super) fn quantile(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let default = 0..0;
    let place = super::place_of(call, 1, &default);
    let ranks = super::scalar(context, call, 0, steps)?;
    remark_ranks(context, &ranks, super::place_of(call, 0, &default));
    let series = super::vector(context, call, 1, steps)?;
    let groups = groups(context, &series, place);
    let question = Quantile { context, ranks: &ranks, steps, first: true, place };
    let answered = answer(context, &groups, place, steps, &question);
    names::drop_all(context, answered).map(Value::Vector)
}

pub(super) fn quantiles(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let default = 0..0;
    let place = super::place_of(call, 0, &default);
    let series = super::vector(context, call, 0, steps)?;
    let _held = context.hold_series(&series, steps)?;
    let groups = groups(context, &series, place);
    let name = super::text(call, 1);
    if name.is_empty() {
        let message = "invalid label name in histogram_quantiles(): the name is empty";
        return Err(context.error(super::place_of(call, 1, &default), message));
    }
    let mut all = Vec::new();
    for arg in 2..call.args.len() {
        let ranks = super::scalar(context, call, arg, steps)?;
        remark_ranks(context, &ranks, super::place_of(call, arg, &default));
        let question = Quantile { context, ranks: &ranks, steps, first: arg == 2, place };
        for mut series in answer(context, &groups, place, steps, &question) {
            let rank = ranks.first().copied().unwrap_or(f64::NAN);
            series.labels = series.labels.with(name, &open_metrics_number(rank));
            all.push(series);
        }
        drop(context.hold_series(&all, steps)?);
    }
    names::drop_all(context, all).map(Value::Vector)
}

/// A whole number keeps its `.0`, as OpenMetrics writes quantiles and bounds.
fn open_metrics_number(value: f64) -> String {
    let text = crate::number::format(value);
    let whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if whole { format!("{text}.0") } else { text }
}

pub(super) fn fraction(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let default = 0..0;
    let place = super::place_of(call, 2, &default);
    let lower = super::scalar(context, call, 0, steps)?;
    let upper = super::scalar(context, call, 1, steps)?;
    let series = super::vector(context, call, 2, steps)?;
    let groups = groups(context, &series, place);
    let question = Fraction { context, lower: &lower, upper: &upper, place };
    let answered = answer(context, &groups, place, steps, &question);
    names::drop_all(context, answered).map(Value::Vector)
}

/// The metric's name, for remarks: none where names are dropped at once, as remarks come after that.
fn named<'l>(context: &Context<'_>, labels: &'l LabelSet) -> &'l str {
    if context.settings.delayed_names { labels.metric_name() } else { "" }
}

fn remark_ranks(context: &Context<'_>, ranks: &[f64], place: &Place) {
    for rank in ranks {
        if !(0.0..=1.0).contains(rank) {
            context.remark(&Annotation::InvalidQuantile(*rank), place);
        }
    }
}

/// Puts the series of one histogram together.
fn groups<'s>(context: &Context<'_>, series: &'s [Series], place: &Place) -> Vec<Group<'s>> {
    let mut groups: Vec<Group<'s>> = Vec::new();
    let mut places: LabelMap<usize> = LabelMap::default();
    let mut group_of = |groups: &mut Vec<Group<'s>>, labels: LabelSet, drop_name: bool| {
        *places.entry(labels).or_insert_with_key(|labels| {
            groups.push(Group { labels: labels.clone(), drop_name, buckets: Vec::new(), native: None });
            groups.len() - 1
        })
    };
    for series in series {
        let floats = (0..series.len()).any(|step| series.point(step).float().is_some());
        if floats {
            let bound = series.labels.get(BUCKET).unwrap_or("");
            match buckets::parse_bound(bound) {
                Some(upper) => {
                    let at = group_of(&mut groups, series.labels.without(&[BUCKET]), series.drop_name);
                    groups[at].buckets.push((upper, series));
                }
                None => {
                    let remark = Annotation::BadBucketLabel(
                        bound.to_owned(),
                        named(context, &series.labels).to_owned(),
                    );
                    context.remark(&remark, place);
                }
            }
        }
        if series.has_histograms() {
            let at = group_of(&mut groups, series.labels.clone(), series.drop_name);
            groups[at].native = Some(series);
        }
    }
    groups
}

/// Answers for every group at every step at which it is one whole histogram.
fn answer(
    context: &Context<'_>,
    groups: &[Group<'_>],
    place: &Place,
    steps: Steps,
    question: &impl Question,
) -> Vec<Series> {
    let mut answered = Vec::with_capacity(groups.len());
    let mut at_step = Vec::new();
    for group in groups {
        let mut result = Series::empty(group.labels.clone(), group.drop_name, steps.count);
        let metric = named(context, &group.labels);
        for step in 0..steps.count {
            at_step.clear();
            let floats = group.buckets.iter().filter_map(|(upper, series)| {
                series.point(step).float().map(|count| Bucket { upper: *upper, count })
            });
            at_step.extend(floats);
            match group.native.and_then(|series| super::histogram_at(series, step)) {
                Some(_) if !at_step.is_empty() => {
                    context.remark(&Annotation::MixedClassicNative(metric.to_owned()), place);
                }
                Some(histogram) => result.set_float(step, question.native(histogram, step, metric)),
                None if at_step.is_empty() => {}
                None => result.set_float(step, question.classic(&mut at_step, step, metric)),
            }
        }
        answered.push(result);
    }
    without_empty(answered)
}

struct Quantile<'q> {
    context: &'q Context<'q>,
    ranks: &'q [f64],
    steps: Steps,
    /// Repairs of buckets are the same for every rank: remarked upon once.
    first: bool,
    place: &'q Place,
}

impl Question for Quantile<'_> {
    fn classic(&self, buckets: &mut Vec<Bucket>, step: usize, metric: &str) -> f64 {
        let answer = buckets::quantile(self.ranks[step], buckets);
        if let Some(repair) = answer.repair.filter(|_| self.first) {
            let at = self.steps.at(step);
            self.context.annotations.add_repair(metric, repair, at, self.place);
        }
        answer.value
    }

    fn native(&self, histogram: &NativeHistogram, step: usize, metric: &str) -> f64 {
        let answer = histogram::quantile(histogram, self.ranks[step]);
        match answer.nan {
            None | Some(NanRemark::Excluded) => {}
            Some(NanRemark::Result) => {
                self.context.remark(&Annotation::QuantileNan(metric.to_owned()), self.place);
            }
            Some(NanRemark::Skewed) => {
                self.context.remark(&Annotation::QuantileSkewed(metric.to_owned()), self.place);
            }
        }
        answer.value
    }
}

struct Fraction<'q> {
    context: &'q Context<'q>,
    lower: &'q [f64],
    upper: &'q [f64],
    place: &'q Place,
}

impl Question for Fraction<'_> {
    fn classic(&self, buckets: &mut Vec<Bucket>, step: usize, _: &str) -> f64 {
        buckets::fraction(self.lower[step], self.upper[step], buckets)
    }

    fn native(&self, histogram: &NativeHistogram, step: usize, metric: &str) -> f64 {
        let answer = histogram::fraction(histogram, self.lower[step], self.upper[step]);
        if answer.nan.is_some() {
            self.context.remark(&Annotation::FractionNan(metric.to_owned()), self.place);
        }
        answer.value
    }
}
