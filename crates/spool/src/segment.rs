//! One file of the log: a mark, then records, each with its length, the time when it was written, and a checksum over all
//! of that.
//!
//! A file ends where its last whole record does: what a killed process left of another is cut off when the folder is
//! opened. No file is written on after that: whoever opens a folder begins a new one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use metricsd_model::Millis;

/// What every file begins with; the last byte is the version.
const MARK: &[u8; 8] = b"mdspool\x01";

/// No longer file holds a record.
pub(crate) const EMPTY: u64 = MARK.len() as u64;

/// Length, time and checksum before each record's content.
const HEAD: usize = 4 + 8 + 4;

/// A longer record is none.
const MAX_RECORD: u32 = 1 << 30;

/// A longer rest of a file is no record that was not finished.
const MAX_TORN: u64 = 64 << 20;

/// Bytes under a checksum, at most, while whole records are looked for behind one that is not.
const MAX_LOOKED_AT: u64 = 1 << 30;

/// No record is written later: in 2109.
const LATEST: u64 = 1 << 42;

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
    /// A record that goes on beyond the end, such as one that was being written before a kill.
    Torn,
    /// Something that is no record.
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
            return Ok(Found::Torn);
        }
        self.file.read_exact(&mut head)?;
        let [length, at, sum] = parts(&head);
        let length = length as u32;
        let end = self.at + HEAD as u64 + u64::from(length);
        if length > MAX_RECORD || end > size {
            self.file.seek(SeekFrom::Start(self.at))?;
            return Ok(if length > MAX_RECORD { Found::Damaged } else { Found::Torn });
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

    /// Whether whole records may follow behind this place, where none stands: then it is no torn end but damage.
    pub(crate) fn may_follow(&mut self) -> io::Result<bool> {
        let size = self.size.saturating_sub(self.at);
        if size > MAX_TORN {
            return Ok(true);
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut rest = Vec::new();
        (&mut self.file).take(size).read_to_end(&mut rest)?;
        self.file.seek(SeekFrom::Start(self.at))?;
        Ok(holds_record(rest.get(1..).unwrap_or_default()))
    }
}

/// Whether a whole record begins anywhere in some bytes.
fn holds_record(bytes: &[u8]) -> bool {
    let mut looked_at = 0;
    for (start, head) in bytes.windows(HEAD).enumerate() {
        // The time of a record is a number of milliseconds: what is none needs no checksum.
        let Ok(head) = <&[u8; HEAD]>::try_from(head) else { continue };
        if head[10..12] != [0, 0] {
            continue;
        }
        let [length, at, sum] = parts(head);
        let content = bytes.get(start + HEAD..).and_then(|rest| rest.get(..length as usize));
        let Some(content) = content.filter(|_| length > 0 && at < LATEST) else { continue };
        looked_at += length;
        if looked_at > MAX_LOOKED_AT || u64::from(checksum(head, content)) == sum {
            return true;
        }
    }
    false
}

/// Cuts off what follows behind the last whole record.
pub(crate) fn cut(path: &Path, size: u64) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(size)?;
    file.sync_all()
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

/// Appends one record, durably, to a file that is made where it is missing.
pub(crate) fn append_one(path: &Path, record: &[u8]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let size = file.metadata()?.len();
    let begun = if size == 0 { file.write_all(MARK) } else { Ok(()) };
    let written = begun.and_then(|()| file.write_all(record)).and_then(|()| file.sync_data());
    if written.is_err() {
        // What follows half a record would never be read.
        let _ = file.set_len(size);
    } else if size == 0 {
        sync_folder(path)?;
    }
    written
}

/// Makes sure that the name of a new file outlasts a loss of power.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
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
        sync_folder(path)?;
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
