//! Reads an upload's parts on a thread of their own, one ahead of the one that is stored.

use std::collections::VecDeque;
use std::sync::Arc;

use metricsd_files::{Compression, FileError, FileFormat, Part, PartBounds, Parts, RowReader, Source};
use metricsd_model::Millis;
use metricsd_ports::WorkQueue;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::source::{StoredFile, Trouble};

/// What is read, and from where.
pub(super) struct Reading {
    pub(super) queue: Arc<dyn WorkQueue>,
    pub(super) id: Uuid,
    pub(super) size: u64,
    pub(super) format: FileFormat,
    pub(super) compression: Compression,
    pub(super) limit: u64,
    pub(super) bounds: PartBounds,
    pub(super) received_at: Millis,
    /// Parts and rows that are done.
    pub(super) done: (u64, u64),
}

/// Parts as they come; an error is the last of them.
pub(super) type Coming = mpsc::Receiver<Result<Part, FileError>>;

impl Reading {
    /// Begins. The thread ends when nobody wants its parts any more.
    pub(super) fn start(self) -> (Coming, Trouble) {
        let (parts, coming) = mpsc::channel(1);
        let trouble = Trouble::default();
        let seen = trouble.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.read(runtime, seen, &parts) {
                let _ = parts.blocking_send(Err(error));
            }
        });
        (coming, trouble)
    }

    fn read(
        self,
        runtime: Handle,
        trouble: Trouble,
        parts: &mpsc::Sender<Result<Part, FileError>>,
    ) -> Result<(), FileError> {
        let file = StoredFile {
            queue: self.queue,
            id: self.id,
            size: self.size,
            runtime,
            trouble,
            pieces: Mutex::new(VecDeque::new()),
        };
        let compression = match self.compression {
            // Nobody said so, but the bytes do.
            Compression::None if self.format != FileFormat::Parquet => sniffed(&file)?,
            said => said,
        };
        let reader = RowReader::open(Arc::new(file), self.format, compression, self.limit)?;
        let mut read = Parts::new(reader, self.bounds, self.received_at);
        let (done, rows) = self.done;
        read.skip(done, rows)?;
        while let Some(part) = read.next_placed()? {
            if parts.blocking_send(Ok(part)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn sniffed(file: &StoredFile) -> Result<Compression, FileError> {
    let mut first = [0; 4];
    let read = file.read_at(0, &mut first)?;
    Ok(Compression::of_bytes(first.get(..read).unwrap_or_default()))
}
