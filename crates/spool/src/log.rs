//! A queue of batches in files. All of its calls block.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metricsd_codec::batch::{BatchDecoder, BatchEncoder, ListId};
use metricsd_model::{Batch, Millis, Waited};
use tracing::{error, warn};

use crate::SpoolOptions;
use crate::folder::{create, file_path, files};
use crate::segment::{Found, Reader, Writer, put, size_of};

/// Columns of the lists of series that one file may hold: who reads it remembers all of them.
const MAX_COLUMNS: usize = 1_000_000;

/// The file that says how far the first segment was replayed.
const PLACE: &str = "place";

/// The same while it is written.
const NEW_PLACE: &str = "place.new";

/// The file that keeps batches which no store takes.
const PARKED: &str = "parked";

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
}

/// Batches that were read, oldest first, and where the next ones stand.
#[derive(Debug)]
pub struct Chunk {
    /// The batches.
    pub batches: Vec<Arc<Batch>>,
    /// Bytes that they take on disk.
    pub bytes: u64,
    number: u64,
    end: u64,
    records: u64,
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
        };
        for (number, path) in files(folder)? {
            log.open_segment(number, &path)?;
        }
        log.find_place();
        Ok(log)
    }

    fn open_segment(&mut self, number: u64, path: &Path) -> io::Result<()> {
        let Some(mut reader) = Reader::open(path)? else {
            // Killed before it was begun.
            return fs::remove_file(path);
        };
        let (mut records, mut oldest) = (0, Millis::MAX);
        loop {
            match reader.next()? {
                Found::Record(record) => {
                    records += 1;
                    oldest = oldest.min(record.at);
                }
                Found::End => break,
                Found::Damaged => {
                    // What follows was not acknowledged, unless the disk forgets.
                    let (file, at) = (path.display(), reader.place());
                    warn!(%file, at, "the end of a file of the spool is not whole and is left out");
                    self.damaged += 1;
                    break;
                }
            }
        }
        if records == 0 {
            return fs::remove_file(path);
        }
        self.segments.push_back(Segment { number, size: reader.place(), records, oldest });
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

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// When the oldest that waits was written, by its file.
    pub fn oldest(&self) -> Option<Millis> {
        self.segments.front().map(|segment| segment.oldest)
    }

    /// Ends of files that were not whole.
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
        let (bytes, max_bytes) = (self.bytes(), self.options.max_bytes);
        if bytes + records.len() as u64 > max_bytes {
            return Err(Full::Full { bytes, max_bytes });
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
            let last = self.segments.back().map_or(0, |segment| segment.number);
            // A file of the number may be left of one that was replayed while its removal was not seen.
            let number = files(&self.folder)?.last().map_or(0, |(number, _)| *number).max(last) + 1;
            let writer = Writer::create(&file_path(&self.folder, number))?;
            let size = writer.size;
            self.segments.push_back(Segment { number, size, records: 0, oldest: Millis::MAX });
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
        let _ = fs::rename(&path, path.with_extension("damaged"));
        self.damaged += 1;
        self.begin_next();
    }

    fn begin_next(&mut self) {
        (self.place, self.replayed, self.reading) = (0, 0, None);
        if self.segments.is_empty() {
            self.writer = None;
        }
    }

    /// The batches of a chunk are committed: they are forgotten.
    pub fn replayed(&mut self, chunk: &Chunk) {
        if self.segments.front().is_none_or(|first| first.number != chunk.number) {
            return;
        }
        self.place = chunk.end;
        self.replayed += chunk.records;
        let (number, place, replayed) = (chunk.number, self.place, self.replayed);
        // Where this cannot be written the batches are replayed once more, and stored once.
        // As a whole: what a killed process has half written would say something else.
        let new = self.folder.join(NEW_PLACE);
        let _ = fs::write(&new, format!("{number} {place} {replayed}\n"))
            .and_then(|()| fs::rename(&new, self.folder.join(PLACE)));
        self.drop_replayed();
    }

    /// Removes the first file when all of it was replayed.
    fn drop_replayed(&mut self) {
        if self.segments.front().is_none_or(|first| self.replayed < first.records) {
            return;
        }
        let Some(first) = self.segments.pop_front() else { return };
        if let Err(error) = fs::remove_file(file_path(&self.folder, first.number)) {
            warn!(%error, "a file of the spool that was replayed cannot be removed");
        }
        self.begin_next();
        // The lists of the file that is gone are known to nobody any more.
        if self.segments.is_empty() {
            self.known.clear();
            self.columns = 0;
        }
    }

    /// Keeps a batch that no store takes where a person can find it.
    pub fn park(&mut self, batch: &Batch, now: Millis) -> Result<(), Full> {
        let encoded = self.encoder.encode(batch)?;
        let mut record = Vec::with_capacity(size_of(encoded.bytes.len()) as usize);
        put(&mut record, now, &encoded.bytes);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.folder.join(PARKED))
            .map_err(Full::Io)?;
        file.write_all(&record).and_then(|()| file.sync_data())?;
        Ok(())
    }
}

/// Reads some records; the inner error says why the file is no good.
fn read_chunk(reading: &mut Reading, size: u64, bytes: usize) -> io::Result<Result<Chunk, String>> {
    let begin = reading.reader.place();
    let mut chunk = Chunk { batches: Vec::new(), bytes: 0, number: reading.number, end: begin, records: 0 };
    while chunk.bytes < bytes as u64 {
        let record = match reading.reader.next_within(size)? {
            Found::Record(record) => record,
            Found::End => break,
            Found::Damaged if chunk.batches.is_empty() => return Ok(Err("a checksum is wrong".to_owned())),
            Found::Damaged => break,
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
        chunk.records += 1;
        chunk.end = record.end;
        chunk.bytes = record.end - begin;
    }
    if chunk.batches.is_empty() { Ok(Err("it ends too early".to_owned())) } else { Ok(Ok(chunk)) }
}
