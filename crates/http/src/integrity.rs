//! `GET /api/v1/metrics/integrity`: what became of every collection and every sample, as numbers that add up.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use metricsd_model::event::rfc3339;
use metricsd_model::{Missed, Refusal};
use metricsd_ports::integrity::{HOUR, LedgerKey};
use metricsd_ports::{LedgerRange, LedgerSum, ParkedEntry, PortError};
use serde::Serialize;

use crate::Problem;
use crate::api::{AppState, now};
use crate::params::Params;

/// Hours of targets that one answer shows.
const MAX_SHOWN: usize = 10_000;

/// Parked records that one answer shows.
const MAX_PARKED: usize = 1_000;

/// Sums of collections. Of the samples `expected = stored + explained + unexplained`.
#[derive(Debug, Serialize)]
struct Account {
    /// Samples that pages and bodies held.
    expected: u64,
    /// Those that were not refused.
    accepted: u64,
    stored: u64,
    /// Dropped as configured, or refused for a reason.
    explained: u64,
    /// 0, or there is a fault.
    unexplained: i64,
    /// Of what was expected, what was stored or is explained.
    percentage: f64,
    dropped: u64,
    refused: BTreeMap<Refusal, u64>,
    /// Samples that metricsd added itself, beside all of these.
    added: u64,
    collections: Collections,
}

#[derive(Debug, Serialize)]
struct Collections {
    /// Done or missed.
    expected: u64,
    done: u64,
    failed: u64,
    missed: u64,
    missed_by_reason: BTreeMap<Missed, u64>,
    /// Of those done, those that waited in the spool.
    spooled: u64,
    /// Of those done, those that came through the sample log.
    logged: u64,
}

impl From<&LedgerSum> for Account {
    fn from(sum: &LedgerSum) -> Self {
        let refused = sum.refused_total();
        let unexplained = sum.unexplained();
        let explained = sum.dropped + refused;
        let known = sum.received as f64 - unexplained.unsigned_abs() as f64;
        Self {
            expected: sum.received,
            accepted: sum.received.saturating_sub(refused),
            stored: sum.stored,
            explained,
            unexplained,
            percentage: if sum.received == 0 { 100.0 } else { known.max(0.0) / sum.received as f64 * 100.0 },
            dropped: sum.dropped,
            refused: sum.refused.clone(),
            added: sum.added,
            collections: Collections {
                expected: sum.collections + sum.missed_total(),
                done: sum.collections,
                failed: sum.failed,
                missed: sum.missed_total(),
                missed_by_reason: sum.missed.clone(),
                spooled: sum.spooled,
                logged: sum.logged,
            },
        }
    }
}

/// The account of a range.
#[derive(Serialize)]
pub(crate) struct Answer {
    start: String,
    end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_id: Option<String>,
    #[serde(flatten)]
    account: Account,
    /// Where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<Vec<Hour>>,
}

#[derive(Serialize)]
struct Hour {
    hour: String,
    target_id: String,
    source_id: String,
    #[serde(flatten)]
    account: Account,
}

fn range(params: &mut Params) -> (LedgerRange, bool) {
    let now = now();
    let end = params.time("end").unwrap_or(now);
    let start = params.time("start").unwrap_or(end.saturating_sub(HOUR));
    if start > end {
        params.error("start", "expected a time that is not after end");
    }
    let by_hour = params.parsed("by_hour", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    });
    let target_id = params.one("target_id").filter(|id| !id.is_empty());
    (LedgerRange { start, end, target_id }, by_hour.unwrap_or(false))
}

/// The handler.
pub(crate) async fn ledger(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<Answer>, Problem> {
    let mut params = Params::new(query.as_deref());
    let (range, by_hour) = range(&mut params);
    params.finish()?;
    let integrity = &shared.api.integrity;
    let hours = if by_hour { Some(integrity.ledger(&range, MAX_SHOWN).await?) } else { None };
    let all = match &hours {
        Some(hours) => hours.values().fold(LedgerSum::default(), |mut all, sum| {
            all += sum;
            all
        }),
        None => integrity.ledger_total(&range).await?,
    };
    let hour = |((hour, target_id, source_id), sum): (LedgerKey, LedgerSum)| Hour {
        hour: rfc3339(hour),
        target_id,
        source_id,
        account: Account::from(&sum),
    };
    Ok(Json(Answer {
        start: rfc3339(range.start),
        end: rfc3339(range.end),
        target_id: range.target_id,
        account: Account::from(&all),
        hours: hours.map(|hours| hours.into_iter().map(hour).collect()),
    }))
}

/// What counting the stored samples found.
#[derive(Serialize)]
pub(crate) struct Counted {
    start: String,
    end: String,
    batches: u64,
    expected: u64,
    counted_batches: u64,
    counted: u64,
    compacted_batches: u64,
    compacted: u64,
    differences: u64,
    differing: Vec<Differing>,
}

#[derive(Serialize)]
struct Differing {
    job_id: String,
    target_id: String,
    expected: u64,
    found: u64,
}

/// `GET /api/v1/metrics/integrity/recount`: counts what is stored and compares.
pub(crate) async fn recount(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<Counted>, Problem> {
    let mut params = Params::new(query.as_deref());
    let (range, _) = range(&mut params);
    params.finish()?;
    let recount = shared.api.integrity.recount(&range).await?;
    let differing = recount.differing.into_iter().map(|differing| Differing {
        job_id: differing.job_id,
        target_id: differing.target_id,
        expected: differing.expected,
        found: differing.found,
    });
    Ok(Json(Counted {
        start: rfc3339(range.start),
        end: rfc3339(range.end),
        batches: recount.batches,
        expected: recount.expected,
        counted_batches: recount.counted_batches,
        counted: recount.counted,
        compacted_batches: recount.compacted_batches,
        compacted: recount.compacted,
        differences: recount.differences,
        differing: differing.collect(),
    }))
}

/// Records of the sample log that no store takes.
#[derive(Serialize)]
pub(crate) struct Parked {
    count: u64,
    records: Vec<ParkedShown>,
}

#[derive(Serialize)]
struct ParkedShown {
    log: String,
    partition: i32,
    position: i64,
    error: String,
    bytes: u64,
    parked_at: String,
}

impl From<ParkedEntry> for ParkedShown {
    fn from(record: ParkedEntry) -> Self {
        Self {
            log: record.log,
            partition: record.partition,
            position: record.position,
            error: record.error,
            bytes: record.bytes,
            parked_at: rfc3339(record.parked_at),
        }
    }
}

/// `GET /api/v1/metrics/parked`: newest first.
pub(crate) async fn parked(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<Parked>, Problem> {
    let mut params = Params::new(query.as_deref());
    let limit = params.limit(100, MAX_PARKED);
    params.finish()?;
    let (mut records, mut count) = (Vec::new(), 0);
    for store in &shared.api.parked {
        let (part, of_store) = store.parked(limit).await.map_err(|error: PortError| Problem::from(error))?;
        records.extend(part);
        count += of_store;
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.parked_at));
    records.truncate(limit);
    Ok(Json(Parked { count, records: records.into_iter().map(ParkedShown::from).collect() }))
}
