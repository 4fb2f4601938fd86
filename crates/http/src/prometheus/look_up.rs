//! `series`, `labels`, `label/<name>/values`: what there is, out of the index and without a look at samples.
//!
//! The index knows series for as long as the store knows them, so `start` and `end` are checked and narrow nothing.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use metricsd_model::{LabelSet, Matcher};

use super::answer::{List, Remarks, success};
use super::error::ApiError;
use super::form::Form;
use super::{AppState, json, name, values};
use crate::partial;

/// Most entries of an answer, whatever is asked for.
const MAX_ENTRIES: usize = 1_000_000;

/// What every look-up can say beside its selectors.
struct Bounds {
    /// Entries to answer.
    limit: usize,
    selectors: Vec<Vec<Matcher>>,
    /// Whether shards that do not answer may be left out.
    partial: bool,
}

fn bounds(form: &Form) -> Result<Bounds, ApiError> {
    let limit = values::limit(form)?.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
    values::time_or(form, "start", values::FIRST)?;
    values::time_or(form, "end", values::LAST)?;
    let partial = values::partial(form)?;
    Ok(Bounds { limit, selectors: values::selectors(form, "match[]")?, partial })
}

/// `/api/v1/series`
pub(super) async fn series(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    if form.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let Bounds { limit, selectors, partial } = bounds(&form)?;
    let look_ups = async {
        let mut found: Vec<LabelSet> = Vec::new();
        for matchers in &selectors {
            found.extend(shared.api.source.label_sets(matchers, limit + 1).await?);
        }
        Ok::<_, ApiError>(found)
    };
    let (found, missing) = partial::ask(partial, look_ups).await;
    let mut found = found?;
    if selectors.len() > 1 {
        // What is some sorted runs is merged rather than sorted.
        found.sort();
        found.dedup();
    }
    let mut remarks = Remarks { warnings: missing, ..Remarks::default() };
    if found.len() > limit {
        found.truncate(limit);
        remarks.truncated();
    }
    let write = |out: &mut Vec<u8>, labels: LabelSet| json::labels(out, &labels);
    Ok(success(List::new(found, write), &remarks))
}

/// `/api/v1/labels`
pub(super) async fn names(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let Bounds { limit, selectors, partial } = bounds(&form)?;
    let look_ups = async {
        let mut found = Found::new(limit);
        for matchers in any_of(&selectors) {
            found.add(shared.api.source.label_names(matchers, limit + 1).await?);
        }
        Ok::<_, ApiError>(found)
    };
    let (found, missing) = partial::ask(partial, look_ups).await;
    Ok(found?.answer(missing))
}

/// `/api/v1/label/<name>/values`
pub(super) async fn values(
    State(shared): AppState,
    path: Result<RawPathParams, RawPathParamsRejection>,
    form: Form,
) -> Result<Response, ApiError> {
    let path = path.map_err(|_| ApiError::bad_data("invalid label name: it is not UTF-8"))?;
    let name = path.iter().find(|(key, _)| *key == "name").map_or("", |(_, value)| value);
    let name = name::unescape(name);
    if name.is_empty() || name.contains('\0') {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let Bounds { limit, selectors, partial } = bounds(&form)?;
    let look_ups = async {
        let mut found = Found::new(limit);
        for matchers in any_of(&selectors) {
            found.add(shared.api.source.label_values(&name, matchers, limit + 1).await?);
        }
        Ok::<_, ApiError>(found)
    };
    let (found, missing) = partial::ask(partial, look_ups).await;
    Ok(found?.answer(missing))
}

/// Without selectors there is one look-up, over everything.
fn any_of(selectors: &[Vec<Matcher>]) -> Vec<&[Matcher]> {
    if selectors.is_empty() { vec![&[]] } else { selectors.iter().map(Vec::as_slice).collect() }
}

/// The texts that one look-up or several found.
struct Found {
    texts: Vec<String>,
    limit: usize,
}

impl Found {
    fn new(limit: usize) -> Self {
        Self { texts: Vec::new(), limit }
    }

    /// Each is sorted already.
    fn add(&mut self, texts: Vec<String>) {
        if self.texts.is_empty() {
            self.texts = texts;
            return;
        }
        self.texts.extend(texts);
        // What is two sorted runs is merged rather than sorted.
        self.texts.sort();
        self.texts.dedup();
    }

    fn answer(self, missing: Vec<String>) -> Response {
        let Self { mut texts, limit } = self;
        let mut remarks = Remarks { warnings: missing, ..Remarks::default() };
        if texts.len() > limit {
            texts.truncate(limit);
            remarks.truncated();
        }
        success(List::new(texts, |out: &mut Vec<u8>, text: String| json::string(out, &text)), &remarks)
    }
}
