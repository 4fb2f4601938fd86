//! Prometheus remote read: a snappy block with a `ReadRequest` asks, one with a `ReadResponse` answers.
//!
//! Only answers of samples are made; answers streamed in chunks are not.

use metricsd_model::{HISTOGRAM_MARKER_BITS, MatchOp, Matcher, Millis, NativeHistogram};
use prost::Message;

use crate::remote_write::message::{Histogram, Label, Sample, TimeSeries};

/// Why bytes are not a request that can be answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// Not protobuf of this message.
    #[error("the body is not a remote read request: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A matcher of a kind that does not exist.
    #[error(
        "queries[{query}].matchers[{matcher}]: type {kind} does not exist; expected 0 (=), 1 (!=), 2 (=~) or 3 (!~)"
    )]
    MatcherType {
        /// Which query.
        query: usize,
        /// Which of its matchers.
        matcher: usize,
        /// What was given.
        kind: i32,
    },
    /// A regular expression that does not compile.
    #[error("queries[{query}].matchers[{matcher}]: {message}")]
    Pattern {
        /// Which query.
        query: usize,
        /// Which of its matchers.
        matcher: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The asker takes no kind of answer that there is.
    #[error("of the response types that the request accepts none is supported; supported is SAMPLES (0)")]
    ResponseType,
}

/// What is asked.
#[derive(Clone, PartialEq, Message)]
pub struct ReadRequest {
    /// Each is answered by itself.
    #[prost(message, repeated, tag = "1")]
    pub queries: Vec<Query>,
    /// 0 samples, 1 streamed chunks; the first that is supported is used, samples where the list is empty.
    #[prost(int32, repeated, tag = "2")]
    pub accepted_response_types: Vec<i32>,
}

/// Which samples.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Query {
    /// First timestamp, inclusive.
    #[prost(int64, tag = "1")]
    pub start_timestamp_ms: i64,
    /// Last timestamp, inclusive.
    #[prost(int64, tag = "2")]
    pub end_timestamp_ms: i64,
    /// All must match.
    #[prost(message, repeated, tag = "3")]
    pub matchers: Vec<LabelMatcher>,
}

/// A test on one label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelMatcher {
    /// 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Which label.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What with.
    #[prost(string, tag = "3")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

/// The answer to one query.
#[derive(Clone, PartialEq, Message)]
pub struct QueryResult {
    /// In order of labels.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// One query, checked.
#[derive(Debug, Clone)]
pub struct ReadQuery {
    /// First timestamp, inclusive.
    pub start: Millis,
    /// Last timestamp, inclusive.
    pub end: Millis,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

const SAMPLES: i32 = 0;

/// Reads and checks a request, unpacked.
pub fn decode_read(bytes: &[u8]) -> Result<Vec<ReadQuery>, ReadError> {
    let request = ReadRequest::decode(bytes)?;
    let accepted = &request.accepted_response_types;
    if !accepted.is_empty() && !accepted.contains(&SAMPLES) {
        return Err(ReadError::ResponseType);
    }
    request.queries.into_iter().enumerate().map(|(place, query)| checked(place, query)).collect()
}

fn checked(place: usize, query: Query) -> Result<ReadQuery, ReadError> {
    let matchers = query.matchers.into_iter().enumerate().map(|(at, matcher)| {
        let op = match matcher.kind {
            0 => MatchOp::Equal,
            1 => MatchOp::NotEqual,
            2 => MatchOp::Regex,
            3 => MatchOp::NotRegex,
            kind => return Err(ReadError::MatcherType { query: place, matcher: at, kind }),
        };
        Matcher::new(matcher.name, op, matcher.value).map_err(|error| ReadError::Pattern {
            query: place,
            matcher: at,
            message: error.to_string(),
        })
    });
    Ok(ReadQuery {
        start: query.start_timestamp_ms,
        end: query.end_timestamp_ms,
        matchers: matchers.collect::<Result<_, _>>()?,
    })
}

/// A request as protobuf, not yet packed.
pub fn encode_read(request: &ReadRequest) -> Vec<u8> {
    request.encode_to_vec()
}

/// Writes an answer series by series, so that it is never held twice: a result for each query, in their order.
#[derive(Debug, Default)]
pub struct ResultWriter {
    out: Vec<u8>,
    result: Vec<u8>,
}

/// The first field of a message, as bytes with their length: `ReadResponse.results` and `QueryResult.timeseries`.
const FIRST_FIELD: u8 = 1 << 3 | 2;

impl ResultWriter {
    /// Begins the answer to the next query.
    pub fn begin(&mut self) {
        self.result.clear();
    }

    /// Adds a series. `histograms` holds the native histograms with the places at which `values` has their marker;
    /// staleness markers are kept.
    pub fn series<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        timestamps: &[Millis],
        values: &[f64],
        histograms: &[(usize, NativeHistogram)],
    ) {
        let is_float = |(_, value): &(&Millis, &f64)| value.to_bits() != HISTOGRAM_MARKER_BITS;
        let floats = timestamps.iter().zip(values).filter(is_float);
        let histograms = histograms.iter().filter_map(|(place, histogram)| {
            timestamps.get(*place).map(|timestamp| Histogram::of(histogram, *timestamp))
        });
        let series = TimeSeries {
            labels: Label::list(labels),
            samples: floats
                .map(|(timestamp, value)| Sample { value: *value, timestamp: *timestamp })
                .collect(),
            exemplars: Vec::new(),
            histograms: histograms.collect(),
        };
        self.result.push(FIRST_FIELD);
        // A vector takes whatever it is given.
        let _ = series.encode_length_delimited(&mut self.result);
    }

    /// Ends the answer to a query.
    pub fn end(&mut self) {
        self.out.push(FIRST_FIELD);
        let _ = prost::encode_length_delimiter(self.result.len(), &mut self.out);
        self.out.append(&mut self.result);
    }

    /// The whole answer as protobuf, not yet packed.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// Reads an answer, unpacked: a result for each query.
pub fn decode_results(bytes: &[u8]) -> Result<Vec<QueryResult>, ReadError> {
    Ok(ReadResponse::decode(bytes)?.results)
}

#[cfg(test)]
mod tests;
