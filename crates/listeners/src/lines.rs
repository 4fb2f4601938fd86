//! Lines of what was heard.

use std::future::Future;

use crate::metrics::{Counted, Dropped};

/// What is done with lines.
pub(crate) trait LineSink: Send + Sync + 'static {
    /// Takes whole lines; the last may lack its line feed. A `patient` caller can be kept waiting, which holds up its
    /// sender; others have lines dropped instead.
    fn take(&self, lines: &[u8], patient: bool) -> impl Future<Output = ()> + Send;
}

/// Calls `each` with every line that is text, not empty and not too long; counts the others.
pub(crate) fn for_each(bytes: &[u8], max_line: usize, counted: &Counted, mut each: impl FnMut(&str)) {
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        lines += 1;
        if line.len() > max_line {
            counted.dropped(Dropped::TooLong, 1);
        } else if let Ok(text) = std::str::from_utf8(line) {
            each(text);
        } else {
            counted.dropped(Dropped::Malformed, 1);
        }
    }
    counted.lines(lines);
}
