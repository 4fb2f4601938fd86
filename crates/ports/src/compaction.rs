//! Frames become segments: what was written scrape by scrape is rewritten series by series.

use std::ops::AddAssign;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::Millis;

use crate::PortError;

/// What is compacted, and within which bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// Hours that ended at or before this are compacted; late samples of such hours too.
    pub before: Millis,
    /// Segments of days that ended at or before this are packed, which SQL cannot read; `None`: never. A store whose
    /// segments are packed anyway takes no notice.
    pub pack_before: Option<Millis>,
    /// Samples held in memory at once: 24 bytes each and somewhat more. A single series' hour may pass it.
    pub max_samples: usize,
    /// How long an hour is left alone after a pass over it: late samples of it wait so long, as each pass writes anew
    /// every segment that they touch. Kept in the memory of the process that compacts.
    pub rest: Duration,
}

/// What one call did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Samples that moved from frames into segments; of those that several frames held, each is counted.
    pub samples: u64,
    /// Frames that were removed.
    pub frames: u64,
    /// Segments that were written, those written anew included.
    pub segments: u64,
    /// Pieces of storage that were given back as a whole.
    pub chunks: u64,
    /// Whether there is more to do now.
    pub more: bool,
}

impl AddAssign for Compacted {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.frames += other.frames;
        self.segments += other.segments;
        self.chunks += other.chunks;
        self.more = other.more;
    }
}

/// Turns frames into segments.
#[async_trait]
pub trait Compaction: Send + Sync + 'static {
    /// Does one bounded piece of the work that the policy asks for, in one transaction: at every moment a reader finds
    /// each (series, timestamp) once, in a frame or in a segment, and with the value that it had before. Killed at any
    /// point, nothing is lost and the next call begins the piece again.
    ///
    /// What tells that a batch was stored before is its job row, or its frames. Where both have gone it is stored again,
    /// which changes no answer as long as its samples are there: of a segment's and a frame's sample at one time the
    /// segment's counts.
    ///
    /// One process compacts a database at a time; others are answered that there is nothing to do, or that their piece
    /// came to nothing.
    async fn compact(&self, policy: &CompactionPolicy) -> Result<Compacted, PortError>;
}
