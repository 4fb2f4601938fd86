//! An upload's bytes as a file that decoders read, fetched piece by piece.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use metricsd_files::Source;
use metricsd_ports::WorkQueue;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use uuid::Uuid;

/// Pieces that are remembered: a row of Parquet is read from as many places as it has columns.
const REMEMBERED: usize = 24;

/// What kept bytes from being fetched, if anything did.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// In words.
    pub(super) fn message(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// Pieces by where they begin, the last used at the end.
type Pieces = VecDeque<(u64, Arc<Vec<u8>>)>;

/// Bytes of one upload. To be read on a thread that may block.
pub(super) struct StoredFile {
    pub(super) queue: Arc<dyn WorkQueue>,
    pub(super) id: Uuid,
    pub(super) size: u64,
    pub(super) runtime: Handle,
    pub(super) trouble: Trouble,
    pub(super) pieces: Mutex<Pieces>,
}

impl StoredFile {
    fn piece(&self, offset: u64) -> io::Result<Option<(u64, Arc<Vec<u8>>)>> {
        let mut pieces = self.pieces.lock();
        let holds =
            |(start, piece): &(u64, Arc<Vec<u8>>)| *start <= offset && offset - *start < piece.len() as u64;
        if let Some(piece) = pieces.iter().position(holds).and_then(|place| pieces.remove(place)) {
            pieces.push_back(piece.clone());
            return Ok(Some(piece));
        }
        let fetched = self.runtime.block_on(self.queue.bytes_at(self.id, offset));
        let found = fetched.map_err(|error| {
            *self.trouble.0.lock() = Some(error.chain());
            io::Error::other(error.to_string())
        })?;
        let Some((start, bytes)) = found else {
            // Whoever took the upload over is done with it.
            *self.trouble.0.lock() = Some("the bytes of the upload are gone".to_owned());
            return Ok(None);
        };
        let piece = (start, Arc::new(bytes));
        if pieces.len() == REMEMBERED {
            pieces.pop_front();
        }
        pieces.push_back(piece.clone());
        Ok(Some(piece))
    }
}

impl Source for StoredFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size {
            return Ok(0);
        }
        let Some((start, piece)) = self.piece(offset)? else {
            return Err(io::Error::other("the bytes of the upload are gone"));
        };
        let from = usize::try_from(offset - start).ok().and_then(|at| piece.get(at..)).unwrap_or_default();
        let count = from.len().min(into.len());
        if let (Some(into), Some(from)) = (into.get_mut(..count), from.get(..count)) {
            into.copy_from_slice(from);
        }
        Ok(count)
    }
}
