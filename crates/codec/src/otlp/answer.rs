//! What a sender is answered: `ExportMetricsServiceResponse`, and `google.rpc.Status` where nothing was taken.

use prost::Message;
use serde_json::{Value, json};

/// Codes of `google.rpc.Code` that we answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The request is at fault; sending it again cannot help.
    InvalidArgument,
    /// The deadline passed.
    DeadlineExceeded,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Not allowed to who asks.
    PermissionDenied,
    /// There is no such thing.
    NotFound,
    /// More than a limit allows.
    ResourceExhausted,
    /// A fault of ours.
    Internal,
    /// Come back later.
    Unavailable,
}

impl Code {
    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Self::InvalidArgument => 3,
            Self::DeadlineExceeded => 4,
            Self::NotFound => 5,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }
}

/// `ExportMetricsServiceResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ExportResponse {
    /// Absent where all was taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportMetricsPartialSuccess`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PartialSuccess {
    /// Data points that were not stored.
    #[prost(int64, tag = "1")]
    pub rejected_data_points: i64,
    /// Why; a warning where nothing was rejected.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

impl ExportResponse {
    /// All was taken.
    pub fn whole() -> Self {
        Self::default()
    }

    /// Some was not.
    pub fn partial(rejected: u64, error_message: String) -> Self {
        let rejected_data_points = i64::try_from(rejected).unwrap_or(i64::MAX);
        Self { partial_success: Some(PartialSuccess { rejected_data_points, error_message }) }
    }

    /// As protobuf.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// As OTLP's JSON has it.
    pub fn to_json(&self) -> Value {
        match &self.partial_success {
            None => json!({}),
            Some(partial) => json!({"partialSuccess": {
                "rejectedDataPoints": partial.rejected_data_points.to_string(),
                "errorMessage": partial.error_message,
            }}),
        }
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// [`Code::number`].
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// What it is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// It.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct RetryInfo {
    /// When trying again may help.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Delay {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// What is above them.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Status {
    /// A status; with seconds after which trying again may help.
    pub fn new(code: Code, message: impl Into<String>, retry_after: Option<u64>) -> Self {
        let delay = |seconds: u64| Delay { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 };
        let detail = |seconds: u64| Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo { retry_delay: Some(delay(seconds)) }.encode_to_vec(),
        };
        let details = retry_after.map(detail).into_iter().collect();
        Self { code: code.number(), message: message.into(), details }
    }

    /// As protobuf.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// As OTLP's JSON has it.
    pub fn to_json(&self) -> Value {
        json!({"code": self.code, "message": self.message})
    }
}
