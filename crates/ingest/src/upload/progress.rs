//! How far an upload is, as it is kept with the job and shown to who asks.

use std::collections::BTreeMap;

use metricsd_files::Part;
use metricsd_model::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Written;

/// Errors that are shown; all are counted.
const MAX_ERRORS: usize = 100;

/// Characters of one error's message.
const MAX_MESSAGE: usize = 300;

/// A row that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// Number of its line, or row of Parquet, from 1.
    pub line: u64,
    /// Closed-set reason.
    pub reason: Refusal,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// How far an upload is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadProgress {
    /// Rows read, and done with.
    pub rows: u64,
    /// Parts that they made.
    pub parts: u64,
    /// Bytes of the file that were read, as it is packed.
    pub bytes: u64,
    /// Bytes that the file has.
    pub bytes_total: u64,
    /// Samples stored.
    pub stored: u64,
    /// Samples that a part held twice with the same value; they are stored once.
    pub repeated: u64,
    /// Rows and samples that were not stored, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// All of them.
    pub errors_total: u64,
    /// The first hundred.
    pub errors: Vec<LineError>,
}

impl UploadProgress {
    /// As it was noted; what does not read counts as nothing, and is done again.
    pub fn of(noted: &Value) -> Self {
        serde_json::from_value(noted.clone()).unwrap_or_default()
    }

    /// As it is noted.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// A part is through. Answers how many of its rows did not read, by reason.
    pub(super) fn take(&mut self, part: &Part) -> BTreeMap<Refusal, u64> {
        let mut unreadable = BTreeMap::new();
        self.rows = part.rows;
        self.parts = part.number + 1;
        self.bytes = part.position.min(self.bytes_total);
        self.errors_total += part.bad;
        for fault in &part.faults {
            *unreadable.entry(fault.reason).or_default() += 1;
            self.show(fault.line, fault.reason, &fault.message);
        }
        // Those that the part does not describe.
        let beyond = part.bad.saturating_sub(part.faults.len() as u64);
        if beyond > 0 {
            *unreadable.entry(Refusal::InvalidValue).or_default() += beyond;
        }
        for (reason, rows) in &unreadable {
            *self.refused.entry(*reason).or_default() += rows;
        }
        unreadable
    }

    /// What the door said of a part.
    pub(super) fn written(&mut self, part: &Part, written: &Written) {
        self.stored += written.stored;
        self.repeated += written.repeated;
        for (reason, count) in &written.refused {
            *self.refused.entry(*reason).or_default() += count;
            self.errors_total += count;
        }
        for fault in &written.faults {
            self.show(part.line_of(fault.series, &fault.message), fault.reason, &fault.message);
        }
    }

    fn show(&mut self, line: u64, reason: Refusal, message: &str) {
        if self.errors.len() < MAX_ERRORS {
            let message = message.chars().take(MAX_MESSAGE).collect::<String>().replace('\0', "\u{fffd}");
            self.errors.push(LineError { line, reason, message });
        }
    }
}
