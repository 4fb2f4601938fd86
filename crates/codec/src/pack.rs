//! Columns of numbers as blobs: for SQLite's frames, and for segments that are packed.
//!
//! A blob starts with a tag: 0 for the numbers as they are (little-endian), 1 for pco, 2 for one float again and again,
//! 3 for whole numbers by their differences, 4 for whole multiples of one step in bits. Whatever is packed comes back bit for bit, every NaN included, and no blob
//! makes a reader allocate more than [`MAX_VALUES`] numbers.

mod bits;
mod series;
mod whole;

pub use series::pack_series;
pub use whole::whole_numbers;

use metricsd_model::NativeHistogram;
use pco::data_types::Number;
use pco::standalone::{DecompressorItem, FileDecompressor, simple_compress};
use pco::{ChunkConfig, FULL_BATCH_N};

/// Most values in one blob.
pub const MAX_VALUES: usize = 16 << 20;

/// Fewer values than this stay as they are: pco's own header would eat what it saves.
const MIN_FOR_PCO: usize = 32;

/// Values read from pco at a time, so that memory grows with what is there and not with what a header claims.
const STEP: usize = 64 * FULL_BATCH_N;

const RAW: u8 = 0;
const PCO: u8 = 1;
const CONSTANT: u8 = 2;
const WHOLE: u8 = 3;
const BITS: u8 = 4;

/// The bytes were not what the packer wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The blob is empty or its tag is unknown.
    #[error("unknown packing")]
    UnknownTag,
    /// Cut short, too long, or damaged.
    #[error("damaged packed values")]
    Damaged,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} packed values")]
    TooMany,
}

/// Packs floats; see the module.
pub fn pack_floats(values: &[f64]) -> Vec<u8> {
    smaller(values, f64::to_le_bytes, |value| value.is_finite())
}

/// Floats as they are, for what is packed later: [`unpack_floats`] reads both.
pub fn plain_floats(values: &[f64]) -> Vec<u8> {
    raw(values, f64::to_le_bytes)
}

/// Reads [`pack_floats`] back.
/// The same of [`pack_series`].
pub fn unpack_floats(blob: &[u8]) -> Result<Vec<f64>, PackError> {
    match blob.split_first() {
        Some((&CONSTANT, bytes)) => series::constant(bytes),
        Some((&WHOLE, bytes)) => series::whole(bytes),
        Some((&BITS, bytes)) => bits::unpack(bytes),
        _ => unpack(blob, f64::from_le_bytes),
    }
}

/// Packs integers, such as the offsets of a frame.
pub fn pack_ints(values: &[i32]) -> Vec<u8> {
    smaller(values, i32::to_le_bytes, |_| true)
}

/// Reads [`pack_ints`] back.
pub fn unpack_ints(blob: &[u8]) -> Result<Vec<i32>, PackError> {
    unpack(blob, i32::from_le_bytes)
}

/// Packs ids. They are hashes, so there is nothing to save.
pub fn pack_ids(ids: &[u64]) -> Vec<u8> {
    raw(ids, u64::to_le_bytes)
}

/// Reads [`pack_ids`] back.
pub fn unpack_ids(blob: &[u8]) -> Result<Vec<u64>, PackError> {
    unpack(blob, u64::from_le_bytes)
}

/// Packs native histograms with the columns they stand in: their number, then for each its column, its length and
/// its packed form, numbers as little-endian `u32`.
pub fn pack_histograms(histograms: &[(u32, NativeHistogram)]) -> Vec<u8> {
    let mut blob = length(histograms.len()).to_vec();
    for (column, histogram) in histograms {
        let packed = histogram.pack();
        blob.extend_from_slice(&column.to_le_bytes());
        blob.extend_from_slice(&length(packed.len()));
        blob.extend_from_slice(&packed);
    }
    blob
}

/// Reads [`pack_histograms`] back.
pub fn unpack_histograms(mut blob: &[u8]) -> Result<Vec<(u32, NativeHistogram)>, PackError> {
    let input = &mut blob;
    let count = take_u32(input)? as usize;
    if count > MAX_VALUES {
        return Err(PackError::TooMany);
    }
    // The shortest histogram takes 48 bytes; no more room than the blob can fill.
    let mut histograms = Vec::with_capacity(count.min(input.len() / 48 + 1));
    for _ in 0..count {
        let column = take_u32(input)?;
        let length = take_u32(input)? as usize;
        let (packed, rest) = input.split_at_checked(length).ok_or(PackError::Damaged)?;
        *input = rest;
        histograms.push((column, NativeHistogram::unpack(packed).map_err(|_| PackError::Damaged)?));
    }
    if input.is_empty() { Ok(histograms) } else { Err(PackError::Damaged) }
}

/// A length that fits by far: a histogram past 4 GiB does not exist in memory that could be packed.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn take_u32(input: &mut &[u8]) -> Result<u32, PackError> {
    let (bytes, rest) = input.split_first_chunk::<4>().ok_or(PackError::Damaged)?;
    *input = rest;
    Ok(u32::from_le_bytes(*bytes))
}

fn raw<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(1 + N * values.len());
    blob.push(RAW);
    for value in values {
        blob.extend_from_slice(&to_bytes(*value));
    }
    blob
}

/// pco where that is smaller. It keeps bits by design, but two of its modes calculate with the floats, and what a
/// processor makes of a NaN is its own affair: columns with values that are not `plain` (staleness markers mostly)
/// are read back before we rely on it.
fn smaller<T: Number, const N: usize>(
    values: &[T],
    to_bytes: fn(T) -> [u8; N],
    plain: fn(&T) -> bool,
) -> Vec<u8> {
    if values.len() >= MIN_FOR_PCO
        && let Ok(packed) = simple_compress(values, &ChunkConfig::default())
        && packed.len() < N * values.len()
        && (values.iter().all(plain) || comes_back(values, &packed, to_bytes))
    {
        let mut blob = Vec::with_capacity(1 + packed.len());
        blob.push(PCO);
        blob.extend_from_slice(&packed);
        return blob;
    }
    raw(values, to_bytes)
}

fn comes_back<T: Number, const N: usize>(values: &[T], packed: &[u8], to_bytes: fn(T) -> [u8; N]) -> bool {
    unpack_pco(packed).is_ok_and(|back: Vec<T>| {
        back.len() == values.len() && back.iter().zip(values).all(|(a, b)| to_bytes(*a) == to_bytes(*b))
    })
}

fn unpack<T: Number, const N: usize>(blob: &[u8], from_bytes: fn([u8; N]) -> T) -> Result<Vec<T>, PackError> {
    match blob.split_first() {
        Some((&RAW, bytes)) => {
            let (chunks, rest) = bytes.as_chunks::<N>();
            match chunks.len() {
                _ if !rest.is_empty() => Err(PackError::Damaged),
                length if length > MAX_VALUES => Err(PackError::TooMany),
                _ => Ok(chunks.iter().map(|chunk| from_bytes(*chunk)).collect()),
            }
        }
        Some((&PCO, bytes)) => unpack_pco(bytes),
        _ => Err(PackError::UnknownTag),
    }
}

fn unpack_pco<T: Number>(bytes: &[u8]) -> Result<Vec<T>, PackError> {
    let damaged = |_| PackError::Damaged;
    let (file, mut bytes) = FileDecompressor::new(bytes).map_err(damaged)?;
    let mut values: Vec<T> = Vec::new();
    loop {
        let mut chunk = match file.chunk_decompressor::<T, _>(bytes).map_err(damaged)? {
            DecompressorItem::Chunk(chunk) => chunk,
            DecompressorItem::EndOfData([]) => return Ok(values),
            DecompressorItem::EndOfData(_) => return Err(PackError::Damaged),
        };
        let end = values.len() + chunk.n();
        if end > MAX_VALUES {
            return Err(PackError::TooMany);
        }
        while values.len() < end {
            let start = values.len();
            values.resize(end.min(start + STEP), T::default());
            let progress = chunk.read(&mut values[start..]).map_err(damaged)?;
            if start + progress.n_processed != values.len() {
                return Err(PackError::Damaged);
            }
        }
        bytes = chunk.into_src();
    }
}

#[cfg(test)]
mod tests;
