//! From matchers to series.

use std::borrow::Cow;
use std::hint::black_box;

use metricsd_model::{MatchOp, Matcher};
use roaring::RoaringBitmap;

use crate::pattern::{Check, Pattern};
use crate::postings::{Postings, Union};
use crate::sorted::Stretch;
use crate::{Found, LabelIndex, TooMany};

/// The values of one label that equal a matcher's text or match its expression, `!` left aside.
#[derive(Debug)]
enum Values {
    /// Every value.
    All,
    /// Looked-up terms, and stretches of the values in order which must pass a check.
    Some { terms: Vec<u32>, stretches: Vec<Stretch>, check: Check },
}

/// How one matcher is answered.
#[derive(Debug)]
struct Plan<'a> {
    matcher: &'a Matcher,
    name: u32,
    values: Values,
    /// The series that pass are among those that have the label; otherwise those that fail are.
    keep: bool,
    /// The series meant are those that have the label with another value than `values`.
    invert: bool,
    /// About how many series there are in the set.
    size: usize,
    /// What it takes to build the set, in steps of some nanoseconds.
    cost: usize,
}

/// What a matcher says before any series is looked at.
enum Answer<'a> {
    /// No series passes.
    Nothing,
    /// All series pass.
    Everything,
    Planned(Plan<'a>),
}

/// Trying one series costs about this many steps of [`Plan::cost`].
const TRY_COST: usize = 16;

/// Trying an expression on one value costs about this many steps of [`Plan::cost`].
const REGEX_COST: usize = 16;

impl LabelIndex {
    /// The series that pass all matchers, ordered by labels; all series where there are none.
    /// Fails where more than `limit` match, before any is put together.
    pub fn select(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Found>, TooMany> {
        let ordinals = self.bounded(matchers, limit)?;
        let mut found: Vec<Found> = ordinals.iter().filter_map(|ordinal| self.series_of(ordinal)).collect();
        found.sort_unstable_by(|a, b| (&a.labels, a.key).cmp(&(&b.labels, b.key)));
        Ok(found)
    }

    /// The keys of the series that pass all matchers, in no order. Fails where more than `limit` match.
    pub fn select_keys(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<i64>, TooMany> {
        let ordinals = self.bounded(matchers, limit)?;
        Ok(ordinals.iter().filter_map(|ordinal| self.keys.get(ordinal as usize).copied()).collect())
    }

    /// The ordinals of the series that pass all matchers; see [`LabelIndex::labels_of`] and [`LabelIndex::key_of`].
    pub fn select_ordinals(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let mut plans = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            match self.plan(matcher) {
                Answer::Nothing => return RoaringBitmap::new(),
                Answer::Everything => {}
                Answer::Planned(plan) => plans.push(plan),
            }
        }
        // Smallest first; what subtracts comes last, when the least is left to subtract from.
        plans.sort_by_key(|plan| (!plan.keep, plan.size));
        let mut left: Option<RoaringBitmap> = None;
        for plan in &plans {
            let rest = match left {
                None if plan.keep => self.series_in(plan).into_owned(),
                None => &self.live - &*self.series_in(plan),
                Some(left) if left.is_empty() => return left,
                Some(left) if (left.len() as usize).saturating_mul(TRY_COST) < plan.cost => {
                    self.tried(&left, plan)
                }
                Some(left) if plan.keep => left & &*self.series_in(plan),
                Some(left) => left - &*self.series_in(plan),
            };
            left = Some(rest);
        }
        left.unwrap_or_else(|| self.live.clone())
    }

    fn bounded(&self, matchers: &[Matcher], limit: usize) -> Result<RoaringBitmap, TooMany> {
        let ordinals = self.select_ordinals(matchers);
        let found = ordinals.len() as usize;
        if found > limit { Err(TooMany { found, limit }) } else { Ok(ordinals) }
    }

    fn plan<'a>(&self, matcher: &'a Matcher) -> Answer<'a> {
        let empty = matcher.matches_empty();
        let Some(name) = self.dictionary.find_name(&matcher.name) else {
            return if empty { Answer::Everything } else { Answer::Nothing };
        };
        let values = self.values(matcher, name);
        let negated = is_negated(matcher);
        // The text itself or the expression holds for the empty value: series without the label go with `values`.
        let invert = empty != negated;
        let (nothing, all) = match &values {
            Values::All => (false, true),
            Values::Some { terms, stretches, .. } => (terms.is_empty() && stretches.is_empty(), false),
        };
        // Which series are in the set is known in two cases: none, with nothing to subtract or nothing to keep.
        if (nothing && !invert) || (all && invert) {
            return if empty { Answer::Everything } else { Answer::Nothing };
        }
        let (size, cost) = self.estimate(name, &values, invert);
        Answer::Planned(Plan { matcher, name, values, keep: !empty, invert, size, cost })
    }

    fn values(&self, matcher: &Matcher, name: u32) -> Values {
        let look_up = |value: &str| self.dictionary.find_term(&matcher.name, value);
        if matches!(matcher.op, MatchOp::Equal | MatchOp::NotEqual) {
            let terms = look_up(&matcher.value).into_iter().collect();
            return Values::Some { terms, stretches: Vec::new(), check: Check::None };
        }
        let Pattern { exact, prefixes, check } = Pattern::new(&matcher.value);
        // No value is empty, so that `.+` means as much as `.*`.
        if check != Check::Regex && prefixes.iter().any(Vec::is_empty) {
            return Values::All;
        }
        let terms = exact.iter().filter_map(|text| look_up(std::str::from_utf8(text).ok()?)).collect();
        let values = &self.dictionary.name(name).values;
        let stretches =
            prefixes.iter().map(|prefix| values.with_prefix(prefix, |id| self.dictionary.value(id)));
        let stretches: Vec<Stretch> = stretches.filter(|stretch| values.count(*stretch) > 0).collect();
        let check = if stretches.is_empty() { Check::None } else { check };
        Values::Some { terms, stretches, check }
    }

    /// About how many series a set has, and what it costs to build it.
    fn estimate(&self, name: u32, values: &Values, invert: bool) -> (usize, usize) {
        let label = self.dictionary.name(name);
        let having = label.postings.len();
        let (size, cost) = match values {
            Values::All => (having, 0),
            Values::Some { terms, stretches, check } => {
                let looked_up: usize =
                    terms.iter().map(|term| self.dictionary.term(*term).postings.len()).sum();
                let stretched: usize = stretches.iter().map(|stretch| label.values.count(*stretch)).sum();
                let each = if *check == Check::Regex { REGEX_COST } else { 1 };
                let ready = stretches.is_empty() && terms.len() <= 1;
                let mean = having / label.values.len().max(1);
                let series = stretched.saturating_mul(mean.max(1));
                let cost = if ready { 0 } else { looked_up + stretched.saturating_mul(each) + series };
                (looked_up + series, cost)
            }
        };
        if invert { (having.saturating_sub(size), cost + having / 256) } else { (size, cost) }
    }

    /// The set of series that a plan keeps or subtracts.
    fn series_in(&self, plan: &Plan<'_>) -> Cow<'_, RoaringBitmap> {
        let having = &self.dictionary.name(plan.name).postings;
        let chosen = match &plan.values {
            Values::All => bitmap(having),
            Values::Some { terms, stretches, .. } => match (&terms[..], &stretches[..]) {
                ([term], []) => bitmap(&self.dictionary.term(*term).postings),
                _ => Cow::Owned(self.union(plan)),
            },
        };
        if plan.invert { Cow::Owned(&*bitmap(having) - &*chosen) } else { chosen }
    }

    /// The series that have one of a plan's values.
    fn union(&self, plan: &Plan<'_>) -> RoaringBitmap {
        let terms = self.terms_in(plan);
        let expected = terms.iter().map(|term| self.dictionary.term(*term).postings.len()).sum();
        let mut union = Union::new(expected, self.end());
        terms.iter().for_each(|term| union.add(&self.dictionary.term(*term).postings));
        union.finish()
    }

    /// The terms of a plan's values.
    fn terms_in(&self, plan: &Plan<'_>) -> Vec<u32> {
        let terms = self.candidates(plan);
        if matches!(plan.values, Values::All | Values::Some { check: Check::None, .. }) {
            return terms;
        }
        let negated = is_negated(plan.matcher);
        let value = |term: &u32| self.dictionary.value(*term);
        let mut passed = Vec::new();
        for chunk in terms.chunks(32) {
            // Values lie scattered: memory brings several at once when their first bytes are asked for together.
            black_box(chunk.iter().fold(0, |sum, term| sum ^ value(term).as_bytes().first().unwrap_or(&0)));
            passed.extend(chunk.iter().filter(|term| plan.matcher.matches(value(term)) != negated));
        }
        passed
    }

    /// The terms of a plan's values and of others that do not pass its check.
    fn candidates(&self, plan: &Plan<'_>) -> Vec<u32> {
        let values = &self.dictionary.name(plan.name).values;
        match &plan.values {
            Values::All => values.iter().collect(),
            Values::Some { terms, stretches, .. } => {
                let stretched = stretches.iter().flat_map(|stretch| values.iter_in(*stretch));
                terms.iter().copied().chain(stretched).collect()
            }
        }
    }

    /// The first `limit` values of a label, in order, that pass all of the matchers, which are on this label.
    pub(crate) fn own_values(&self, name: u32, matchers: &[Matcher], limit: usize) -> Vec<u32> {
        let mut plans = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            match self.plan(matcher) {
                Answer::Nothing => return Vec::new(),
                Answer::Everything => {}
                Answer::Planned(plan) => plans.push(plan),
            }
        }
        // The values are among those of any matcher that passes for no other; the fewest are tried on the others.
        let narrow = plans.iter().filter(|plan| plan.keep && !plan.invert).min_by_key(|plan| plan.cost);
        let value = |term: u32| self.dictionary.value(term);
        let passes = |term: &u32| matchers.iter().all(|matcher| matcher.matches(value(*term)));
        match narrow {
            None => self.dictionary.name(name).values.iter().filter(passes).take(limit).collect(),
            Some(plan) => {
                let mut terms = self.candidates(plan);
                // Stretches are in order by themselves.
                if matches!(&plan.values, Values::Some { terms, .. } if !terms.is_empty()) {
                    terms.sort_unstable_by_key(|term| value(*term));
                }
                terms.into_iter().filter(passes).take(limit).collect()
            }
        }
    }

    /// Those of some series that pass, each tried: cheaper than a large set when few are left.
    fn tried(&self, left: &RoaringBitmap, plan: &Plan<'_>) -> RoaringBitmap {
        // Neighbours often have the same value.
        let mut last: Option<(Option<u32>, bool)> = None;
        let passes = |ordinal: &u32| {
            let term = self.term_of(*ordinal, plan.name);
            if let Some((same, verdict)) = last
                && same == term
            {
                return verdict;
            }
            let verdict = plan.matcher.matches(term.map_or("", |term| self.dictionary.value(term)));
            last = Some((term, verdict));
            verdict
        };
        left.iter().filter(passes).collect()
    }
}

fn is_negated(matcher: &Matcher) -> bool {
    matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex)
}

fn bitmap(postings: &Postings) -> Cow<'_, RoaringBitmap> {
    match postings {
        Postings::Many(many) => Cow::Borrowed(many),
        few => Cow::Owned(few.to_bitmap()),
    }
}
