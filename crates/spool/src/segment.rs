//! One file of the log: a mark, then records, each with its length, the time when it was written, and a checksum over all
//! of that.
//!
//! A file ends where its last whole record does: what a killed process left of another is cut off when the file is
//! opened for writing, and not read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use metricsd_model::Millis;

/// What every file begins with; the last byte is the version.
const MARK: &[u8; 8] = b"mdspool\x01";

/// Length, time and checksum before each record's content.
const HEAD: usize = 4 + 8 + 4;

/// A longer record is none.
const MAX_RECORD: u32 = 1 << 30;

/// One record as it lies in the file.
#[derive(Debug)]
pub(crate) struct Record {
    /// When it was written.
    pub(crate) at: Millis,
    /// An encoded batch.
    pub(crate) content: Vec<u8>,
    /// Where the next one begins.
    pub(crate) end: u64,
}

/// What stands at a place of a file.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole record.
    Record(Record),
    /// The end.
    End,
    /// Something that is no whole record: the end of what was written before a kill, or damage.
    Damaged,
}

/// Reads a file from its beginning.
pub(crate) struct Reader {
    file: io::BufReader<File>,
    at: u64,
    size: u64,
}

impl Reader {
    /// Opens a file at its first record; `None` where it is not one of ours.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut file = io::BufReader::with_capacity(256 << 10, file);
        let mut mark = [0; MARK.len()];
        match file.read_exact(&mut mark) {
            Ok(()) if &mark == MARK => Ok(Some(Self { file, at: MARK.len() as u64, size })),
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the next record begins.
    pub(crate) fn place(&self) -> u64 {
        self.at
    }

    /// The next record of the first `size` bytes.
    pub(crate) fn next_within(&mut self, size: u64) -> io::Result<Found> {
        // It may have grown since it was opened.
        self.size = self.size.max(size);
        if self.at >= size {
            return Ok(Found::End);
        }
        let mut head = [0; HEAD];
        if self.at + HEAD as u64 > size {
            return Ok(Found::Damaged);
        }
        self.file.read_exact(&mut head)?;
        let [length, at, sum] = parts(&head);
        let length = length as u32;
        let end = self.at + HEAD as u64 + u64::from(length);
        if length > MAX_RECORD || end > size {
            self.file.seek(SeekFrom::Start(self.at))?;
            return Ok(Found::Damaged);
        }
        let mut content = vec![0; length as usize];
        self.file.read_exact(&mut content)?;
        if u64::from(checksum(&head, &content)) != sum {
            self.file.seek(SeekFrom::Start(self.at))?;
            return Ok(Found::Damaged);
        }
        self.at = end;
        Ok(Found::Record(Record { at: at.cast_signed(), content, end }))
    }

    /// The same up to the end of the file.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        self.next_within(self.size)
    }
}

/// Length, time, checksum.
fn parts(head: &[u8; HEAD]) -> [u64; 3] {
    let number = |range: std::ops::Range<usize>| {
        let bytes = head.get(range).unwrap_or_default();
        bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    [number(0..4), number(4..12), number(12..16)]
}

fn checksum(head: &[u8; HEAD], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head.get(..12).unwrap_or_default());
    hasher.update(content);
    hasher.finalize()
}

/// Appends a record to a buffer; `false` where it is too long to be one.
pub(crate) fn put(out: &mut Vec<u8>, at: Millis, content: &[u8]) -> bool {
    let Some(length) = u32::try_from(content.len()).ok().filter(|length| *length <= MAX_RECORD) else {
        return false;
    };
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..12].copy_from_slice(&at.to_le_bytes());
    let sum = checksum(&head, content);
    head[12..].copy_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(content);
    true
}

/// Bytes that a record of so much content takes.
pub(crate) fn size_of(content: usize) -> u64 {
    (HEAD + content) as u64
}

/// A file that is written.
pub(crate) struct Writer {
    file: File,
    /// All that is durable.
    pub(crate) size: u64,
}

impl Writer {
    /// Makes a file, which must not be there.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(MARK)?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file, size: MARK.len() as u64 })
    }

    /// Appends records and makes them durable. After an error what was there before is there still, and no more.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(records).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.size)?;
            self.file.seek(SeekFrom::Start(self.size))?;
            return Err(error);
        }
        self.size += records.len() as u64;
        Ok(())
    }
}
