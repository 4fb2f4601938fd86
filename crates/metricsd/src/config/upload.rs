//! Section `upload`: files that are taken, and who reads them.

use std::time::Duration;

use metricsd_model::PromDuration;
use serde::{Deserialize, Serialize};

use super::size::ByteSize;

/// The section as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upload {
    pub(super) max_bytes: ByteSize,
    pub(super) max_spool_bytes: ByteSize,
    pub(super) max_unpacked_bytes: ByteSize,
    pub(super) max_sample_age: PromDuration,
    pub(super) keep: PromDuration,
    pub(super) max_tries: usize,
    pub(super) workers: usize,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize(1 << 30),
            max_spool_bytes: ByteSize(4 << 30),
            max_unpacked_bytes: ByteSize(32 << 30),
            max_sample_age: PromDuration::from_secs(0),
            keep: PromDuration::from_secs(24 * 3_600),
            max_tries: 5,
            workers: 1,
        }
    }
}

/// Uploads at work at once in one process: each holds some tens of megabytes.
const MAX_WORKERS: usize = 16;

/// The section as the program sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadConfig {
    /// Bytes of one file, as it is sent.
    pub(crate) max_bytes: u64,
    /// Bytes of all files that are not done.
    pub(crate) max_spool_bytes: u64,
    /// Bytes that a file may unfold to.
    pub(crate) max_unpacked_bytes: u64,
    /// Samples older than this are refused; zero for no bound.
    pub(crate) max_sample_age: PromDuration,
    /// How long an upload is kept after its last change.
    pub(crate) keep: Duration,
    /// Tries until an upload is given up.
    pub(crate) max_tries: u32,
    /// Uploads at work at once in this process.
    pub(crate) workers: usize,
}

impl Upload {
    /// What is wrong with it, by key.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let sizes = [
            ("upload.max_bytes", self.max_bytes.0),
            ("upload.max_spool_bytes", self.max_spool_bytes.0),
            ("upload.max_unpacked_bytes", self.max_unpacked_bytes.0),
            ("upload.max_tries", self.max_tries),
        ];
        for (key, value) in sizes {
            if value == 0 {
                problems.push((key, "expected at least 1, not 0".to_owned()));
            }
        }
        if self.keep.0 < Duration::from_secs(60) {
            problems.push(("upload.keep", format!("expected at least 1m, not {}", self.keep)));
        }
        if self.workers > MAX_WORKERS {
            problems
                .push(("upload.workers", format!("expected at most {MAX_WORKERS}, not {}", self.workers)));
        }
        problems
    }

    /// As the program sees it.
    pub(super) fn config(&self) -> UploadConfig {
        UploadConfig {
            max_bytes: self.max_bytes.0 as u64,
            max_spool_bytes: self.max_spool_bytes.0 as u64,
            max_unpacked_bytes: self.max_unpacked_bytes.0 as u64,
            max_sample_age: self.max_sample_age,
            keep: self.keep.0,
            max_tries: u32::try_from(self.max_tries).unwrap_or(u32::MAX),
            workers: self.workers,
        }
    }
}
