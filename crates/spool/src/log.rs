//! A queue of batches in files. All of its calls block.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metricsd_codec::batch::{BatchDecoder, BatchEncoder, ListId};
use metricsd_model::{Batch, Millis, Waited};
use tracing::{error, info, warn};

use crate::SpoolOptions;
use crate::folder::{
    PARKED, PLACE, bytes_aside, create, file_path, files, forget_place, last_number, put_aside,
};
use crate::segment::{EMPTY, Found, Reader, Writer, append_one, cut, put, size_of};

/// Columns of the lists of series that one file may hold: who reads it remembers all of them.
const MAX_COLUMNS: usize = 1_000_000;

/// [`PLACE`] while it is written.
const NEW_PLACE: &str = "place.new";

/// Why batches were not taken.
#[derive(Debug, thiserror::Error)]
pub enum Full {
    /// There is no room.
    #[error("the spool is full: {bytes} of {max_bytes} bytes are taken (spool.max_bytes)")]
    Full {
        /// What is taken.
        bytes: u64,
        /// What may be.
        max_bytes: u64,
    },
    /// The disk refuses.
    #[error("the spool cannot be written")]
    Io(#[from] io::Error),
    /// A batch cannot be written down.
    #[error("a batch cannot be spooled: {0}")]
    Batch(#[from] metricsd_codec::batch::BatchError),
}

/// One file of the queue.
#[derive(Debug)]
struct Segment {
    number: u64,
    /// Up to its last whole record.
    size: u64,
    records: u64,
    oldest: Millis,
    /// Whether nothing but those records is in it.
    is_whole: bool,
}

/// Batches that were read, oldest first, and where the next ones stand.
#[derive(Debug)]
pub struct Chunk {
    /// The batches.
    pub batches: Vec<Arc<Batch>>,
    /// Bytes that they take on disk.
    pub bytes: u64,
    number: u64,
    /// Where each of them ends.
    ends: Vec<u64>,
}

/// The queue.
pub struct SpoolLog {
    folder: PathBuf,
    options: SpoolOptions,
    segments: VecDeque<Segment>,
    /// The file that is written: the last segment.
    writer: Option<Writer>,
    encoder: BatchEncoder,
    /// Lists that the file which is written holds.
    known: HashSet<ListId>,
    columns: usize,
    /// How far the first segment was replayed.
    place: u64,
    /// Records of the first segment that were replayed.
    replayed: u64,
    reading: Option<Reading>,
    damaged: u64,
    /// Bytes of what was put aside.
    aside: u64,
}

/// The first segment, being read.
struct Reading {
    number: u64,
    reader: Reader,
    decoder: BatchDecoder,
}

impl SpoolLog {
    /// Opens the queue of a folder, which is made where it is missing.
    pub fn open(folder: &Path, options: SpoolOptions) -> io::Result<Self> {
        create(folder)?;
        let mut log = Self {
            folder: folder.to_owned(),
            options,
            segments: VecDeque::new(),
            writer: None,
            encoder: BatchEncoder::new(),
            known: HashSet::new(),
            columns: 0,
            place: 0,
            replayed: 0,
            reading: None,
            damaged: 0,
            aside: 0,
        };
        for (number, path) in files(folder)? {
            log.open_segment(number, &path)?;
        }
        log.find_place();
        log.open_parked()?;
        log.count_aside()?;
        Ok(log)
    }

    /// What follows half a record that was being put aside would never be read.
    fn open_parked(&mut self) -> io::Result<()> {
        let path = self.folder.join(PARKED);
        if path.try_exists()? && scan(&path)?.is_none_or(|scanned| !scanned.is_whole) {
            warn!(file = %path.display(), "the batches that no store takes are damaged; others are kept in a new file");
            self.damaged += 1;
            put_aside(&path)?;
        }
        Ok(())
    }

    fn open_segment(&mut self, number: u64, path: &Path) -> io::Result<()> {
        let scanned = scan(path)?;
        if let Some(Scanned { records: 0, is_whole: true, .. }) = scanned {
            // Killed before it was begun.
            return fs::remove_file(path);
        }
        if scanned.as_ref().is_none_or(|scanned| !scanned.is_whole) {
            self.damaged += 1;
        }
        match scanned {
            Some(Scanned { size, records, oldest, is_whole }) if records > 0 => {
                if !is_whole {
                    let file = path.display();
                    error!(%file, at = size, records, "a file of the spool is damaged; what stands before that is replayed");
                }
                self.segments.push_back(Segment { number, size, records, oldest, is_whole });
            }
            _ => {
                let to = put_aside(path)?;
                error!(file = %to.display(), "a file of the spool is damaged, or of another version, and is put aside");
            }
        }
        Ok(())
    }

    /// Reads how far the first segment was replayed. Where that is not known it is replayed from its beginning.
    fn find_place(&mut self) {
        let Ok(text) = fs::read_to_string(self.folder.join(PLACE)) else { return };
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        if let ([number, place, replayed], Some(first)) = (numbers.as_slice(), self.segments.front())
            && *number == first.number
            && *place <= first.size
            && *replayed <= first.records
        {
            (self.place, self.replayed) = (*place, *replayed);
        }
        self.drop_replayed();
    }

    /// What was set.
    pub fn options(&self) -> &SpoolOptions {
        &self.options
    }

    /// Batches that wait.
    pub fn batches(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum::<u64>().saturating_sub(self.replayed)
    }

    /// Bytes on disk, with those of what was put aside.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum::<u64>() + self.aside
    }

    /// Looks how much of what was put aside is there still: a person may have taken it away.
    pub fn count_aside(&mut self) -> io::Result<()> {
        self.aside = bytes_aside(&self.folder)?;
        Ok(())
    }

    /// When the oldest that waits was written, by its file.
    pub fn oldest(&self) -> Option<Millis> {
        self.segments.front().map(|segment| segment.oldest)
    }

    /// Files that were damaged.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Adds batches; on `Ok` they are durable. On `Err` none of them was added.
    pub fn append(&mut self, batches: &[Arc<Batch>], now: Millis) -> Result<(), Full> {
        if self.writer.as_ref().is_none_or(|writer| writer.size >= self.options.segment_bytes)
            || self.columns >= MAX_COLUMNS
        {
            self.writer = None;
            self.known.clear();
            self.columns = 0;
        }
        let mut records = Vec::new();
        let mut lists: HashSet<ListId> = HashSet::new();
        let mut columns = 0;
        for batch in batches {
            let known = |id: &ListId| self.known.contains(id) || lists.contains(id);
            let encoded = self.encoder.encode_after(batch, known)?;
            for (id, count) in encoded.lists {
                columns += count;
                lists.insert(id);
            }
            if !put(&mut records, now, &encoded.bytes) {
                return Err(Full::Batch(metricsd_codec::batch::BatchError::Compression));
            }
        }
        let max_bytes = self.options.max_bytes;
        let has_room = |bytes: u64| bytes + records.len() as u64 <= max_bytes;
        if !has_room(self.bytes()) {
            self.count_aside()?;
        }
        if !has_room(self.bytes()) {
            return Err(Full::Full { bytes: self.bytes(), max_bytes });
        }
        self.write(&records)?;
        if let Some(segment) = self.segments.back_mut() {
            segment.size += records.len() as u64;
            segment.records += batches.len() as u64;
            segment.oldest = segment.oldest.min(now);
        }
        self.known.extend(lists);
        self.columns += columns;
        Ok(())
    }

    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        if self.writer.is_none() {
            if self.segments.is_empty() {
                // Numbers come again. The folder is synced with the new file.
                forget_place(&self.folder)?;
            }
            let last = self.segments.back().map_or(0, |segment| segment.number);
            // A file of the number may be left of one that was replayed while its removal was not seen.
            let number = last_number(&self.folder)?.max(last) + 1;
            let writer = Writer::create(&file_path(&self.folder, number))?;
            let size = writer.size;
            let (records, oldest, is_whole) = (0, Millis::MAX, true);
            self.segments.push_back(Segment { number, size, records, oldest, is_whole });
            self.writer = Some(writer);
        }
        let written = self.writer.as_mut().map_or(Ok(()), |writer| writer.append(records));
        if written.is_err() {
            // Whatever is wrong with this file, the next attempt gets another.
            self.writer = None;
            self.known.clear();
            self.columns = 0;
            if self.segments.back().is_some_and(|segment| segment.records == 0)
                && let Some(empty) = self.segments.pop_back()
            {
                let _ = fs::remove_file(file_path(&self.folder, empty.number));
            }
        }
        written
    }

    /// The oldest batches, some of them; `None` where nothing waits. The same again until [`Self::replayed`] is called.
    pub fn oldest_batches(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            let Some(first) = self.segments.front() else { return Ok(None) };
            if self.replayed >= first.records {
                return Ok(None);
            }
            let (number, size) = (first.number, first.size);
            let mut reading = match self.reading.take() {
                Some(reading) if reading.number == number && reading.reader.place() == self.place => reading,
                _ => match self.begin_reading(number)? {
                    Some(reading) => reading,
                    None => {
                        self.give_up_segment("it is not a file of a spool");
                        continue;
                    }
                },
            };
            match read_chunk(&mut reading, size, self.options.replay_bytes)? {
                Ok(chunk) => {
                    self.reading = Some(reading);
                    return Ok(Some(chunk));
                }
                Err(why) => self.give_up_segment(&why),
            }
        }
    }

    /// Opens the first segment and goes to its place: what comes before holds lists that what follows refers to.
    fn begin_reading(&mut self, number: u64) -> io::Result<Option<Reading>> {
        let Some(reader) = Reader::open(&file_path(&self.folder, number))? else { return Ok(None) };
        let mut reading = Reading { number, reader, decoder: BatchDecoder::of_segment() };
        self.place = self.place.max(reading.reader.place());
        while reading.reader.place() < self.place {
            let Found::Record(record) = reading.reader.next_within(self.place)? else { return Ok(None) };
            let _ = reading.decoder.decode(&record.content);
        }
        Ok(Some(reading))
    }

    /// Puts a file that cannot be read aside, whole, and goes on with the next.
    fn give_up_segment(&mut self, why: &str) {
        let Some(first) = self.segments.pop_front() else { return };
        let path = file_path(&self.folder, first.number);
        let lost = first.records.saturating_sub(self.replayed);
        error!(file = %path.display(), why, batches = lost, "a file of the spool is damaged and is put aside");
        if first.is_whole {
            self.damaged += 1;
        }
        self.put_aside(&path);
        self.begin_next();
    }

    fn put_aside(&mut self, path: &Path) {
        match put_aside(path).and_then(|to| self.count_aside().map(|()| to)) {
            Ok(to) => warn!(file = %to.display(), "a damaged file of the spool is kept for a person"),
            Err(error) => {
                warn!(file = %path.display(), %error, "a damaged file of the spool cannot be put aside")
            }
        }
    }

    fn begin_next(&mut self) {
        (self.place, self.replayed, self.reading) = (0, 0, None);
        if self.segments.is_empty() {
            self.writer = None;
        }
    }

    /// The first of the batches of a chunk, so many, are committed: they are forgotten.
    pub fn replayed(&mut self, chunk: &Chunk, count: usize) {
        if self.segments.front().is_none_or(|first| first.number != chunk.number) {
            return;
        }
        let Some(end) = count.checked_sub(1).and_then(|last| chunk.ends.get(last)) else { return };
        self.place = *end;
        self.replayed += count as u64;
        let (number, place, replayed) = (chunk.number, self.place, self.replayed);
        // Where this cannot be written the batches are replayed once more, and stored once.
        // As a whole: what a killed process has half written would say something else.
        let new = self.folder.join(NEW_PLACE);
        let _ = fs::write(&new, format!("{number} {place} {replayed}\n"))
            .and_then(|()| fs::rename(&new, self.folder.join(PLACE)));
        self.drop_replayed();
    }

    /// Removes the first file when all of it was replayed; one that holds more than could be read is kept.
    fn drop_replayed(&mut self) {
        if self.segments.front().is_none_or(|first| self.replayed < first.records) {
            return;
        }
        let Some(first) = self.segments.pop_front() else { return };
        // It is true of this file only: a person may give its number to another, parked batches for one.
        let _ = forget_place(&self.folder);
        let path = file_path(&self.folder, first.number);
        if !first.is_whole {
            self.put_aside(&path);
        } else if let Err(error) = fs::remove_file(path) {
            warn!(%error, "a file of the spool that was replayed cannot be removed");
        }
        self.begin_next();
        // The lists of the file that is gone are known to nobody any more.
        if self.segments.is_empty() {
            self.known.clear();
            self.columns = 0;
        }
    }

    /// Keeps a batch that no store takes where a person can find it, in a file like those of the queue.
    pub fn park(&mut self, batch: &Batch, now: Millis) -> Result<(), Full> {
        let encoded = self.encoder.encode(batch)?;
        let mut record = Vec::with_capacity(size_of(encoded.bytes.len()) as usize);
        if !put(&mut record, now, &encoded.bytes) {
            return Err(Full::Batch(metricsd_codec::batch::BatchError::Compression));
        }
        append_one(&self.folder.join(PARKED), &record)?;
        self.count_aside()?;
        Ok(())
    }
}

/// What is in a file.
struct Scanned {
    /// Up to the last whole record.
    size: u64,
    records: u64,
    oldest: Millis,
    /// Whether that is the end.
    is_whole: bool,
}

/// Reads a file to its end, and cuts off a record that was being written when a process was killed: nobody was told that it
/// is kept. `None` where it is not a file of a spool, or of another version of it.
fn scan(path: &Path) -> io::Result<Option<Scanned>> {
    let (mut size, mut records, mut oldest) = (EMPTY, 0, Millis::MAX);
    if fs::metadata(path)?.len() <= EMPTY {
        return Ok(Some(Scanned { size, records, oldest, is_whole: true }));
    }
    let Some(mut reader) = Reader::open(path)? else { return Ok(None) };
    let is_whole = loop {
        match reader.next()? {
            Found::Record(record) => {
                records += 1;
                oldest = oldest.min(record.at);
                size = record.end;
            }
            Found::End => break true,
            Found::Torn if !reader.may_follow()? => {
                info!(file = %path.display(), at = size, "a record that a killed process had not finished is cut off");
                cut(path, size)?;
                break true;
            }
            Found::Torn | Found::Damaged => break false,
        }
    };
    Ok(Some(Scanned { size, records, oldest, is_whole }))
}

/// Reads some records; the inner error says why the file is no good.
fn read_chunk(reading: &mut Reading, size: u64, bytes: usize) -> io::Result<Result<Chunk, String>> {
    let begin = reading.reader.place();
    let mut chunk = Chunk { batches: Vec::new(), bytes: 0, number: reading.number, ends: Vec::new() };
    while chunk.bytes < bytes as u64 {
        let record = match reading.reader.next_within(size)? {
            Found::Record(record) => record,
            Found::End => break,
            Found::Torn | Found::Damaged if chunk.batches.is_empty() => {
                return Ok(Err("a checksum is wrong".to_owned()));
            }
            Found::Torn | Found::Damaged => break,
        };
        match reading.decoder.decode(&record.content) {
            Ok(mut batch) => {
                batch.collection.ledger.waited.get_or_insert(Waited::Spool);
                chunk.batches.push(Arc::new(batch));
            }
            Err(error) if chunk.batches.is_empty() => return Ok(Err(error.to_string())),
            // Those before it first.
            Err(_) => break,
        }
        chunk.ends.push(record.end);
        chunk.bytes = record.end - begin;
    }
    if chunk.batches.is_empty() { Ok(Err("it ends too early".to_owned())) } else { Ok(Ok(chunk)) }
}
