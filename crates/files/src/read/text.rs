//! OpenMetrics and Prometheus text, line by line: unlike a scraped page a file may be of any length.

use metricsd_codec::exposition::{Entry, Format, MetricKind, Parser, parse_series, unescape_help};
use metricsd_model::Refusal;

use super::lines::{Line, Lines};
use crate::row::{Row, RowFault, RowValue, Step};
use crate::{FileError, unpack::Unpacked};

/// Reads exposition text.
pub(super) struct TextRows<'a> {
    lines: Lines<Unpacked<'a>>,
    format: Format,
    family: Family,
    /// Text of the last series, and the labels that it has.
    last: Option<(String, Row)>,
    /// `# EOF` was read.
    ended: bool,
}

/// What was said last of a family; what a file says of one stands before its samples.
#[derive(Default)]
struct Family {
    name: String,
    kind: MetricKind,
    help: String,
    unit: String,
}

impl Family {
    fn of(&mut self, name: &str) -> &mut Self {
        if self.name != name {
            *self = Self { name: name.to_owned(), ..Self::default() };
        }
        self
    }

    /// Whether a sample of this name belongs to it.
    fn has(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.name.as_str()) else { return false };
        !self.name.is_empty()
            && matches!(
                rest,
                "" | "_total" | "_bucket" | "_sum" | "_count" | "_created" | "_gsum" | "_gcount" | "_info"
            )
    }
}

impl<'a> TextRows<'a> {
    pub(super) fn new(reader: Unpacked<'a>, format: Format) -> Self {
        Self { lines: Lines::new(reader), format, family: Family::default(), last: None, ended: false }
    }

    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        loop {
            let number = self.lines.number() + 1;
            let fault = |reason, message: &str| Ok(Step::Fault(RowFault::new(number, reason, message)));
            let line = match self.lines.next_line()? {
                Line::End if self.format == Format::OpenMetrics && !self.ended => {
                    return Err(FileError::at(number, "the file ends without # EOF: it is not whole"));
                }
                Line::End => return Ok(Step::End),
                Line::TooLong => return fault(Refusal::InvalidValue, "the line is too long"),
                Line::Text(line) => line,
            };
            if self.ended {
                return Err(FileError::at(number, "there is something behind # EOF"));
            }
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
            if bare == b"# EOF" && self.format == Format::OpenMetrics {
                self.ended = true;
                continue;
            }
            if bare.is_empty() || (bare.starts_with(b"#") && !is_metadata(bare)) {
                continue;
            }
            // The parser knows only one line, which has its end even where the file's last has none.
            let whole: Vec<u8>;
            let page = if line.ends_with(b"\n") && bare.len() + 1 == line.len() {
                line
            } else {
                whole = [bare, b"\n"].concat();
                &whole
            };
            let entry = match Parser::new(page, self.format).next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(error) => return fault(Refusal::InvalidValue, &error.message),
            };
            match entry {
                Entry::Help { name, text } => {
                    self.family.of(&name).help = unescape_help(text).into_owned();
                }
                Entry::Type { name, kind } => self.family.of(&name).kind = kind,
                Entry::Unit { name, unit } => unit.clone_into(&mut self.family.of(&name).unit),
                Entry::Sample(sample) => {
                    let known = self.last.as_ref().filter(|(text, _)| text == sample.series);
                    if let Some((_, last)) = known {
                        row.clone_from(last);
                    } else {
                        if let Err(message) = name_row(sample.series, row) {
                            return fault(Refusal::InvalidLabel, &message);
                        }
                        if self.family.has(&row.name) {
                            row.kind = self.family.kind;
                            row.family.clone_from(&self.family.name);
                            row.help.clone_from(&self.family.help);
                            row.unit.clone_from(&self.family.unit);
                        }
                        self.last = Some((sample.series.to_owned(), row.clone()));
                    }
                    row.line = number;
                    row.timestamp = sample.timestamp;
                    row.value = RowValue::Float(sample.value);
                    return Ok(Step::Row);
                }
            }
        }
    }
}

fn is_metadata(line: &[u8]) -> bool {
    [b"# HELP ".as_slice(), b"# TYPE ", b"# UNIT "].iter().any(|start| line.starts_with(start))
}

fn name_row(series: &str, row: &mut Row) -> Result<(), String> {
    let series = parse_series(series).map_err(|error| error.to_string())?;
    row.name.push_str(&series.name);
    for (name, value) in &series.labels {
        row.labels.push(name, value);
    }
    Ok(())
}
