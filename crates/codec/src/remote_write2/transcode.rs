//! From a request of 2.0 to a body of 1.0.

use std::collections::HashSet;

use metricsd_model::METRIC_NAME;

use super::Starts;
use super::symbols::Symbols;
use crate::exposition::{MetricKind, OPEN_METRICS};
use crate::remote_write::{BodyWriter, kind_of, push_raw_label, push_varint};
use crate::wire::{Reader, Wire, WireError};

/// Field of `Request`.
const TIMESERIES: u32 = 5;

/// References of one series; limits on labels are far below.
const MAX_REFERENCES: usize = 1 << 14;

/// Bounds that hold before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Texts in the table.
    pub max_symbols: usize,
    /// Bytes of the body that is written: references take less room than what they refer to.
    pub max_bytes: usize,
}

/// Why a request is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeError {
    /// It is not a request of remote write 2.0.
    #[error("the body is not a request of remote write 2.0: {0}")]
    Damaged(#[from] WireError),
    /// Its table has too many texts.
    #[error("the body's table holds more than {max} symbols; send it in several requests")]
    TooManySymbols {
        /// How many there may be.
        max: usize,
    },
    /// It says more than may be written.
    #[error("the body is larger than {max} bytes with its symbols written out; send it in several requests")]
    TooLarge {
        /// How much it may be.
        max: usize,
    },
}

/// A request as a body of remote write 1.0. The series have the places that they had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcoded {
    /// The body.
    pub body: Vec<u8>,
    /// Exemplars that the request held.
    pub exemplars: u64,
}

/// Writes a request as a body of remote write 1.0. `starts` hears when series began.
///
/// # Errors
/// The request does not read as a whole, or exceeds the bounds.
pub fn transcode(
    request: &[u8],
    bounds: Bounds,
    starts: Option<&mut Starts<'_>>,
) -> Result<Transcoded, TranscodeError> {
    let symbols = Symbols::read(request, bounds.max_symbols)?;
    let mut transcoder = Transcoder {
        described: vec![false; symbols.len()],
        symbols,
        families: HashSet::new(),
        references: Vec::new(),
        scratch: Vec::new(),
        body: BodyWriter::new(),
        starts,
        max_bytes: bounds.max_bytes,
        exemplars: 0,
    };
    let mut reader = Reader::new(request, "the write request");
    while !reader.is_empty() {
        match reader.tag()? {
            (TIMESERIES, wire) => transcoder.series(reader.message(wire, "a time series")?)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(Transcoded { body: transcoder.body.into_bytes(), exemplars: transcoder.exemplars })
}

struct Transcoder<'a, 'b, 's> {
    symbols: Symbols<'a>,
    /// Names, by symbol, whose families were told.
    described: Vec<bool>,
    families: HashSet<&'a [u8]>,
    references: Vec<u32>,
    scratch: Vec<u8>,
    body: BodyWriter,
    starts: Option<&'b mut Starts<'s>>,
    max_bytes: usize,
    exemplars: u64,
}

/// What stands beside the samples of a series.
#[derive(Default)]
struct Head {
    kind: u32,
    help: u32,
    unit: u32,
    created: i64,
    native: bool,
}

impl<'a> Transcoder<'a, '_, '_> {
    fn series(&mut self, message: Reader<'a>) -> Result<(), TranscodeError> {
        let head = self.head(message)?;
        // Empty labels are left out, as everywhere; the count of references is even.
        let mut size = self.body.len();
        let mut name = None;
        for pair in self.references.chunks_exact(2) {
            let &[name_reference, value_reference] = pair else { continue };
            let label = self.symbols.get(name_reference, &message)?;
            let value = self.symbols.get(value_reference, &message)?;
            size += label.len() + value.len() + 8;
            if label == METRIC_NAME.as_bytes() {
                name = Some((value_reference, value));
            }
        }
        self.check_size(size)?;
        if let Some((reference, name)) = name
            && let Some(described) = self.described.get_mut(reference as usize)
            && !std::mem::replace(described, true)
        {
            self.describe(name, &head, &message)?;
        }
        self.items(message, &head)?;
        self.check_size(self.body.len())
    }

    fn check_size(&self, size: usize) -> Result<(), TranscodeError> {
        if size > self.max_bytes { Err(TranscodeError::TooLarge { max: self.max_bytes }) } else { Ok(()) }
    }

    fn head(&mut self, mut reader: Reader<'a>) -> Result<Head, WireError> {
        let mut head = Head::default();
        self.references.clear();
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) => references(&mut reader, wire, &mut self.references)?,
                (3, wire) => {
                    head.native = true;
                    reader.skip(wire)?;
                }
                (5, wire) => {
                    let mut metadata = reader.message(wire, "the metadata of a series")?;
                    while !metadata.is_empty() {
                        match metadata.tag()? {
                            (1, wire) => head.kind = metadata.uint32(wire)?,
                            (3, wire) => head.help = metadata.uint32(wire)?,
                            (4, wire) => head.unit = metadata.uint32(wire)?,
                            (_, wire) => metadata.skip(wire)?,
                        }
                    }
                }
                (6, wire) => head.created = reader.int64(wire)?,
                (_, wire) => reader.skip(wire)?,
            }
        }
        if self.references.len() % 2 == 1 {
            return Err(reader.error("has a label without a value: its references are not pairs"));
        }
        Ok(head)
    }

    /// Says what the family of a metric is, once.
    fn describe(&mut self, name: &'a [u8], head: &Head, at: &Reader<'_>) -> Result<(), TranscodeError> {
        let kind = kind_of(head.kind);
        let help = self.symbols.optional(head.help, at)?;
        let unit = self.symbols.optional(head.unit, at)?;
        if kind == MetricKind::Unknown && help.is_empty() && unit.is_empty() {
            return Ok(());
        }
        let family = if head.native { name } else { family_of(name, kind) };
        if self.families.insert(family)
            && let Ok(family) = std::str::from_utf8(family)
        {
            self.check_size(self.body.len() + family.len() + help.len() + unit.len())?;
            let text = |bytes| String::from_utf8_lossy(bytes);
            self.body.metadata(kind, family, &text(help), &text(unit));
        }
        Ok(())
    }

    fn items(&mut self, mut reader: Reader<'a>, head: &Head) -> Result<(), TranscodeError> {
        let Self { symbols, references, scratch, body, starts, exemplars, max_bytes, .. } = self;
        let begin = reader;
        let mut out = body.series();
        for pair in references.chunks_exact(2) {
            let &[name, value] = pair else { continue };
            out.byte_label(symbols.get(name, &begin)?, symbols.get(value, &begin)?);
        }
        let labels = out.written().len();
        while !reader.is_empty() {
            match reader.tag()? {
                (2, wire) => {
                    let Sample { value, timestamp, start } = sample(reader.message(wire, "a sample")?)?;
                    if let Some(starts) = starts {
                        let start = if start == 0 { head.created } else { start };
                        starts.float(out.written().get(..labels).unwrap_or_default(), start, timestamp);
                    }
                    out.sample(timestamp, value);
                }
                (3, wire) => {
                    let message = reader.message(wire, "a histogram")?;
                    if let Some(starts) = starts {
                        let labels = out.written().get(..labels).unwrap_or_default();
                        starts.histogram(labels, head.created, message)?;
                    }
                    out.raw_histogram(message.rest());
                }
                (4, wire) => {
                    exemplar(reader.message(wire, "an exemplar")?, symbols, scratch)?;
                    out.raw_exemplar(scratch);
                    *exemplars += 1;
                    // Short messages may each refer to long texts.
                    if out.written().len() > *max_bytes {
                        return Err(TranscodeError::TooLarge { max: *max_bytes });
                    }
                }
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(())
    }
}

fn references(reader: &mut Reader<'_>, wire: Wire, into: &mut Vec<u32>) -> Result<(), WireError> {
    if wire != Wire::Bytes {
        into.push(reader.uint32(wire)?);
    } else {
        let mut list = reader.message(wire, "a list of references")?;
        while !list.is_empty() && into.len() <= MAX_REFERENCES {
            into.push(list.uint32(Wire::Varint)?);
        }
    }
    if into.len() > MAX_REFERENCES {
        return Err(reader.error("has more than 8192 labels"));
    }
    Ok(())
}

struct Sample {
    value: f64,
    timestamp: i64,
    start: i64,
}

#[inline]
fn sample(mut reader: Reader<'_>) -> Result<Sample, WireError> {
    let mut sample = Sample { value: 0.0, timestamp: 0, start: 0 };
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => sample.value = reader.double(wire)?,
            (2, wire) => sample.timestamp = reader.int64(wire)?,
            (3, wire) => sample.start = reader.int64(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(sample)
}

/// Most bytes of an exemplar's labels that are written out; what is longer is not stored anyway.
const MAX_EXEMPLAR: usize = 64 << 10;

/// Writes an exemplar as the message of 1.0.
fn exemplar(mut reader: Reader<'_>, symbols: &Symbols<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
    out.clear();
    let (mut value, mut timestamp, mut labels) = (0.0, 0i64, Vec::new());
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => references(&mut reader, wire, &mut labels)?,
            (2, wire) => value = reader.double(wire)?,
            (3, wire) => timestamp = reader.int64(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    if labels.len() % 2 == 1 {
        return Err(reader.error("has a label without a value: its references are not pairs"));
    }
    for pair in labels.chunks_exact(2) {
        let &[name, text] = pair else { continue };
        let (name, text) = (symbols.get(name, &reader)?, symbols.get(text, &reader)?);
        if out.len() + name.len() + text.len() > MAX_EXEMPLAR {
            return Err(reader.error("has labels of more than 65536 bytes"));
        }
        push_raw_label(out, name, text);
    }
    out.push(2 << 3 | 1);
    out.extend_from_slice(&f64::to_le_bytes(value));
    out.push(3 << 3);
    push_varint(out, timestamp.cast_unsigned());
    Ok(())
}

/// The family of a metric. Counters and infos are described under the names of their metrics: what else they may be
/// called is not said here.
fn family_of(name: &[u8], kind: MetricKind) -> &[u8] {
    let suffixes = OPEN_METRICS.iter().filter(|(_, kinds)| kinds.contains(&kind));
    let mut of_parts = suffixes.filter(|(suffix, _)| !matches!(*suffix, "_total" | "_info" | "_created"));
    let family = of_parts.find_map(|(suffix, _)| name.strip_suffix(suffix.as_bytes()));
    family.filter(|family| !family.is_empty()).unwrap_or(name)
}
