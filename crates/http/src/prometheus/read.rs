//! `POST /api/v1/read`: remote read, answered with samples.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_codec::remote_read::{ReadQuery, ResultWriter, decode_read};
use metricsd_codec::remote_write::{pack, unpack};
use metricsd_model::Matcher;
use metricsd_ports::{ErrorKind, PortError, SampleSource, SelectLimits, SelectedSeries, Selection};

use super::AppState;
use super::write::{PROTOBUF, Plain, check_encoding};
use crate::Problem;
use crate::body::{self, BodyLimits};

/// The largest request that is read, unpacked: some matchers.
const MAX_REQUEST: usize = 1 << 20;

/// Queries of one request.
const MAX_QUERIES: usize = 100;

/// The handler. The answers of all queries are within the limits of one query together.
pub(crate) async fn read(State(shared): AppState, headers: HeaderMap, body: Body) -> Result<Response, Plain> {
    check_encoding(&headers)?;
    // A slot is for those who have asked, and not for those who are slow to.
    let packed = body::read_packed(&headers, body, &BodyLimits::small(&shared.api, MAX_REQUEST)).await?;
    let _slot = shared.reads.acquire().await;
    let queries = decode_read(&unpack(&packed, MAX_REQUEST)?).map_err(bad_request)?;
    if queries.len() > MAX_QUERIES {
        return Err(bad_request(format!("the request holds more than {MAX_QUERIES} queries")));
    }
    let limits = &shared.api.limits;
    let mut left =
        SelectLimits { max_series: limits.max_query_series, max_samples: limits.max_query_samples };
    let mut writer = ResultWriter::default();
    for (place, query) in queries.into_iter().enumerate() {
        let selected = select(&*shared.api.source, place, query, left).await?;
        left.max_series = left.max_series.saturating_sub(selected.len());
        let samples: usize = selected.iter().map(|series| series.timestamps.len()).sum();
        left.max_samples = left.max_samples.saturating_sub(samples);
        writer = tokio::task::spawn_blocking(move || written(writer, selected))
            .await
            .map_err(|_| Problem::internal())?;
    }
    let packed = tokio::task::spawn_blocking(move || pack(&writer.finish()))
        .await
        .map_err(|_| Problem::internal())?
        .map_err(bad_request)?;
    let headers = [(header::CONTENT_TYPE, PROTOBUF), (header::CONTENT_ENCODING, "snappy")];
    Ok((headers, packed).into_response())
}

async fn select(
    source: &dyn SampleSource,
    place: usize,
    query: ReadQuery,
    limits: SelectLimits,
) -> Result<Vec<SelectedSeries>, Plain> {
    if query.matchers.iter().all(Matcher::matches_empty) {
        return Err(bad_request(format!(
            "queries[{place}]: needs at least one matcher that does not match the empty value"
        )));
    }
    if query.end < query.start {
        return Ok(Vec::new());
    }
    let selection = Selection { matchers: query.matchers, start: query.start, end: query.end, limits };
    source.select(&selection).await.map_err(store_error)
}

fn written(mut writer: ResultWriter, selected: Vec<SelectedSeries>) -> ResultWriter {
    writer.begin();
    for series in selected {
        writer.series(series.labels.iter(), &series.timestamps, &series.values, &series.histograms);
    }
    writer.end();
    writer
}

fn bad_request(error: impl ToString) -> Plain {
    Plain::new(StatusCode::BAD_REQUEST, error.to_string())
}

/// Limits are told as Prometheus tells them: the same request will never be answered.
fn store_error(error: PortError) -> Plain {
    match error.kind() {
        ErrorKind::Limit => bad_request(error),
        _ => Problem::from(error).into(),
    }
}
