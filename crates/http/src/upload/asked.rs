//! What a request says of a file.

use axum::http::{HeaderMap, StatusCode, header};
use metricsd_files::{Compression, FileFormat};
use metricsd_ingest::{Caller, UploadSpec};
use metricsd_ports::{NewWork, Quota, Work, WorkKind};
use uuid::Uuid;

use super::{MAX_RECEIVING, UploadAccess};
use crate::api::now;
use crate::custom::source_from;
use crate::params::Params;
use crate::targets::check_source_id;
use crate::{Problem, ProblemKind};

/// Who uploads, where nobody says.
const DEFAULT_SOURCE: &str = "upload";

/// A file as it is announced.
pub(super) struct Asked {
    source_id: String,
    /// With which it came.
    token: Option<Uuid>,
    quota: Quota,
    format: FileFormat,
    compression: Compression,
    /// Its sha256 in hexadecimal, where it was declared.
    sha256: Option<String>,
    pub(super) resumable: bool,
}

/// Where bytes of a file go.
pub(super) struct Next {
    pub(super) offset: u64,
    pub(super) complete: bool,
}

fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

fn hash(text: &str) -> Result<String, String> {
    let good = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(text.to_ascii_lowercase()) } else { Err("expected 64 hexadecimal digits".to_owned()) }
}

impl Next {
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let mut params = Params::new(query);
        let number = |text: &str| text.parse::<u64>().map_err(|_| "expected a number of bytes".to_owned());
        let offset = params.parsed("offset", number);
        let complete = params.parsed("complete", truth).unwrap_or(false);
        if offset.is_none() && !params.is_wrong("offset") {
            params.error("offset", "is required: how many bytes of the file come before this body");
        }
        params.finish()?;
        Ok(Self { offset: offset.unwrap_or(0), complete })
    }
}

impl Asked {
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap, caller: &Caller) -> Result<Self, Problem> {
        let mut params = Params::new(query);
        let source = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
        let format = params.parsed("format", |text| {
            let names: Vec<&str> = FileFormat::ALL.iter().map(|format| format.as_str()).collect();
            FileFormat::from_name(text).ok_or_else(|| format!("is not one of {}", names.join(", ")))
        });
        let compression = params.parsed("compression", |text| {
            Compression::from_name(text).ok_or_else(|| "is not one of identity, gzip, zstd".to_owned())
        });
        let sha256 = params.parsed("sha256", hash);
        let resumable = params.parsed("resumable", truth).unwrap_or(false);
        params.finish()?;
        let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let media_type = text(header::CONTENT_TYPE);
        let format = format.or_else(|| FileFormat::from_media_type(media_type?)).ok_or_else(|| {
            let shown: String = media_type.unwrap_or("missing").chars().take(60).collect();
            Problem::unsupported_media_type(format!(
                "Content-Type is {shown:?}, which is no format of files; send text/csv, application/x-ndjson, \
                 application/openmetrics-text or application/vnd.apache.parquet, or say format="
            ))
        })?;
        let encoding = text(header::CONTENT_ENCODING).unwrap_or("");
        let encoded = Compression::from_name(encoding).ok_or_else(|| {
            let shown: String = encoding.chars().take(60).collect();
            Problem::unsupported_media_type(format!(
                "Content-Encoding is {shown:?}; supported are gzip and zstd"
            ))
        })?;
        let source_id = source_from(source, headers, caller, DEFAULT_SOURCE)?;
        let compression = match (compression, encoded) {
            (None, encoded) => encoded,
            (Some(said), Compression::None) => said,
            (Some(said), encoded) if said == encoded => said,
            (Some(_), _) => {
                let detail = "the parameter compression and Content-Encoding differ; a file is packed once";
                return Err(Problem::new(StatusCode::BAD_REQUEST, ProblemKind::InvalidRequest, detail));
            }
        };
        Ok(Self {
            source_id,
            token: caller.token_id(),
            quota: caller.quota(),
            format,
            compression,
            sha256,
            resumable,
        })
    }

    /// The work that it is. What has a name by its content is the same work each time it is asked for.
    pub(super) fn work(&self, uploads: &UploadAccess) -> NewWork {
        let spec = UploadSpec {
            format: self.format.as_str().to_owned(),
            compression: self.compression.as_str().to_owned(),
            received_at: now(),
            token: self.token,
            quota: self.quota,
        };
        NewWork {
            id: Uuid::new_v4(),
            kind: WorkKind::Upload,
            source_id: self.source_id.clone(),
            content: self.sha256.as_deref().map(|hash| content(self.format.as_str(), hash)),
            spec: serde_json::to_value(spec).unwrap_or_default(),
            receiving: true,
            max_receiving: MAX_RECEIVING,
            max_tries: uploads.max_tries,
            keep: uploads.keep,
        }
    }
}

/// The same bytes read as another format are another file.
fn content(format: &str, hash: &str) -> String {
    format!("{format}:{hash}")
}

/// What makes two uploads the same.
pub(super) fn content_of(work: &Work, hash: &str) -> String {
    content(work.spec["format"].as_str().unwrap_or_default(), hash)
}
