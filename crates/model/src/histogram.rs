//! Native histograms and the packed form in which frames carry them.
//!
//! The fields are those of Prometheus' remote-write `Histogram` message; buckets are kept as absolute floats, which
//! serves integer and float histograms alike. The packed form is ours: LEB128 varints for counts and spans,
//! little-endian IEEE 754 for floats, with a leading version byte.

pub mod indexed;
pub mod validate;

#[cfg(test)]
mod checks;

/// A run of buckets: `offset` buckets are skipped, then `length` follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Gap to the end of the span before; for the first span the index of its first bucket. May be negative there.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Whether a counter histogram is known to have started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResetHint {
    /// Compare with the sample before.
    #[default]
    Unknown,
    /// This sample follows a reset.
    Yes,
    /// This sample does not follow a reset.
    No,
    /// A gauge histogram: resets mean nothing.
    Gauge,
}

/// A native histogram sample.
#[derive(Debug, Clone, Default)]
pub struct NativeHistogram {
    /// Resolution: bucket bounds grow by 2^(2^-schema); -53 means custom bounds.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Whether the counter started again.
    pub reset_hint: ResetHint,
    /// Which positive buckets are filled.
    pub positive_spans: Vec<Span>,
    /// Absolute counts of those.
    pub positive_buckets: Vec<f64>,
    /// Which negative buckets are filled.
    pub negative_spans: Vec<Span>,
    /// Absolute counts of those.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds where the schema is -53.
    pub custom_values: Vec<f64>,
}

impl PartialEq for NativeHistogram {
    /// Bit for bit, so that a NaN sum equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.pack() == other.pack()
    }
}

const VERSION: u8 = 1;

/// More buckets than any client makes; guards allocation against damaged input.
const MAX_BUCKETS: u64 = 1 << 20;

/// The bytes were not a packed histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged packed histogram")]
pub struct UnpackError;

impl NativeHistogram {
    /// The packed form.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.reset_hint as u8];
        put_varint(&mut out, zigzag(self.schema));
        for float in [self.zero_threshold, self.zero_count, self.count, self.sum] {
            out.extend_from_slice(&float.to_le_bytes());
        }
        for (spans, buckets) in
            [(&self.positive_spans, &self.positive_buckets), (&self.negative_spans, &self.negative_buckets)]
        {
            put_varint(&mut out, spans.len() as u64);
            for span in spans {
                put_varint(&mut out, zigzag(span.offset));
                put_varint(&mut out, u64::from(span.length));
            }
            put_floats(&mut out, buckets);
        }
        put_floats(&mut out, &self.custom_values);
        out
    }

    /// Reads one packed histogram, which must fill `bytes` exactly.
    pub fn unpack(mut bytes: &[u8]) -> Result<Self, UnpackError> {
        let input = &mut bytes;
        let histogram = Self::read(input)?;
        if input.is_empty() { Ok(histogram) } else { Err(UnpackError) }
    }

    fn read(input: &mut &[u8]) -> Result<Self, UnpackError> {
        if take_byte(input)? != VERSION {
            return Err(UnpackError);
        }
        let reset_hint = match take_byte(input)? {
            0 => ResetHint::Unknown,
            1 => ResetHint::Yes,
            2 => ResetHint::No,
            3 => ResetHint::Gauge,
            _ => return Err(UnpackError),
        };
        let schema = unzigzag(take_varint(input)?)?;
        let [zero_threshold, zero_count, count, sum] =
            [take_float(input)?, take_float(input)?, take_float(input)?, take_float(input)?];
        let positive_spans = take_spans(input)?;
        let positive_buckets = take_floats(input)?;
        let negative_spans = take_spans(input)?;
        let negative_buckets = take_floats(input)?;
        let custom_values = take_floats(input)?;
        Ok(Self {
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            reset_hint,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values,
        })
    }
}

fn zigzag(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)).cast_unsigned())
}

fn unzigzag(value: u64) -> Result<i32, UnpackError> {
    let value = u32::try_from(value).map_err(|_| UnpackError)?;
    Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_floats(out: &mut Vec<u8>, floats: &[f64]) {
    put_varint(out, floats.len() as u64);
    for float in floats {
        out.extend_from_slice(&float.to_le_bytes());
    }
}

fn take_byte(input: &mut &[u8]) -> Result<u8, UnpackError> {
    let (first, rest) = input.split_first().ok_or(UnpackError)?;
    *input = rest;
    Ok(*first)
}

fn take_varint(input: &mut &[u8]) -> Result<u64, UnpackError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(input)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(UnpackError)
}

fn take_float(input: &mut &[u8]) -> Result<f64, UnpackError> {
    let (bytes, rest) = input.split_first_chunk::<8>().ok_or(UnpackError)?;
    *input = rest;
    Ok(f64::from_le_bytes(*bytes))
}

fn take_count(input: &mut &[u8]) -> Result<u64, UnpackError> {
    take_varint(input).and_then(|count| if count > MAX_BUCKETS { Err(UnpackError) } else { Ok(count) })
}

fn take_floats(input: &mut &[u8]) -> Result<Vec<f64>, UnpackError> {
    (0..take_count(input)?).map(|_| take_float(input)).collect()
}

fn take_spans(input: &mut &[u8]) -> Result<Vec<Span>, UnpackError> {
    let span = |input: &mut &[u8]| {
        let offset = unzigzag(take_varint(input)?)?;
        let length = u32::try_from(take_varint(input)?).map_err(|_| UnpackError)?;
        Ok(Span { offset, length })
    };
    (0..take_count(input)?).map(|_| span(input)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span() -> impl Strategy<Value = Span> {
        (any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length })
    }

    fn histogram() -> impl Strategy<Value = NativeHistogram> {
        let float = || any::<u64>().prop_map(f64::from_bits);
        let floats = move || proptest::collection::vec(float(), 0..20);
        let spans = || proptest::collection::vec(span(), 0..5);
        ((any::<i32>(), float(), float(), float(), float()), spans(), floats(), spans(), floats(), floats())
            .prop_map(|((schema, zero_threshold, zero_count, count, sum), ps, pb, ns, nb, custom_values)| {
                NativeHistogram {
                    schema,
                    zero_threshold,
                    zero_count,
                    count,
                    sum,
                    reset_hint: ResetHint::Gauge,
                    positive_spans: ps,
                    positive_buckets: pb,
                    negative_spans: ns,
                    negative_buckets: nb,
                    custom_values,
                }
            })
    }

    proptest! {
        #[test]
        fn every_histogram_survives_packing(histogram in histogram()) {
            let packed = histogram.pack();
            prop_assert_eq!(NativeHistogram::unpack(&packed).unwrap().pack(), packed);
        }

        #[test]
        fn unpacking_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = NativeHistogram::unpack(&bytes);
        }
    }
}
