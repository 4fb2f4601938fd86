//! From lines to a body, and from what became of it back to lines.

use metricsd_codec::influx::{LineParser, TooLarge};
use metricsd_codec::remote_write::{BodyWriter, MAX_BODY_BYTES};
use metricsd_ingest::Written;
use metricsd_model::Millis;

use super::{Asked, InfluxOptions};

/// Bad lines that are described; all are counted.
const MAX_DESCRIBED: usize = 100;

/// What a request's lines came to.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) body: Vec<u8>,
    /// Fields that are texts.
    pub(super) texts: u64,
    /// First series of each line, and the line.
    starts: Vec<(usize, usize)>,
    bad: Faults,
}

/// Lines, or samples of them, that are not stored.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The first of them: their line, and what is wrong with it.
    pub(super) described: Vec<(usize, String)>,
    pub(super) count: u64,
}

impl Faults {
    fn add(&mut self, line: usize, message: String) {
        self.count += 1;
        if self.described.len() < MAX_DESCRIBED {
            self.described.push((line, message));
        }
    }
}

impl Read {
    /// Reads lines. A body of more than `limit` samples is left off there: the door refuses it as a whole.
    ///
    /// # Errors
    /// What the lines become takes too much room.
    pub(super) fn lines(
        bytes: &[u8],
        options: &InfluxOptions,
        asked: &Asked,
        received_at: Millis,
        limit: usize,
    ) -> Result<Self, TooLarge> {
        let mut mapping = options.mapping.clone();
        if !asked.db.is_empty() && !options.db_label.is_empty() {
            mapping.labels.push((options.db_label.clone(), asked.db.clone()));
        }
        let (mut read, mut body) = (Self::default(), BodyWriter::new());
        let mut parser = LineParser::new(bytes);
        while let Some(line) = parser.next_line() {
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    read.bad.add(error.line, error.to_string());
                    continue;
                }
            };
            let at = line.timestamp.map_or(Some(received_at), |given| asked.precision.to_millis(given));
            let Some(at) = at else {
                read.bad.add(line.number, format!("line {}: the timestamp is out of range", line.number));
                continue;
            };
            read.starts.push((body.series_count(), line.number));
            read.texts += mapping.write(&line, at, &mut body, MAX_BODY_BYTES)?.texts as u64;
            if body.series_count() > limit {
                break;
            }
        }
        read.body = body.into_bytes();
        Ok(read)
    }

    /// Lines that did not read.
    pub(super) fn unreadable(&self) -> u64 {
        self.bad.count
    }

    /// What was wrong, by reading and by storing; `None` where nothing was.
    pub(super) fn faults(mut self, written: &Written) -> Option<Faults> {
        let described = written.faults.len() as u64;
        for fault in &written.faults {
            let after = self.starts.partition_point(|(series, _)| *series <= fault.series);
            let line =
                after.checked_sub(1).and_then(|place| self.starts.get(place)).map_or(0, |(_, line)| *line);
            self.bad.add(line, format!("line {line}: {}", fault.message));
        }
        self.bad.count += written.refused.values().sum::<u64>().saturating_sub(described);
        self.bad.described.sort_by_key(|(line, _)| *line);
        (self.bad.count > 0).then_some(self.bad)
    }
}
