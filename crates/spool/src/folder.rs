//! Where the log lies: a numbered folder for each process that shares a machine, held by a lock.
//!
//! A process takes the first number that nobody holds, and what processes that are gone have left in others.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// Processes that may share a folder.
const MAX_PROCESSES: usize = 256;

const SUFFIX: &str = "spool";

/// Why there is no folder for the spool.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refuses.
    #[error("the folder of the spool {} cannot be used (spool.directory)", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// All numbers are held.
    #[error("{MAX_PROCESSES} processes use the folder of the spool {} already (spool.directory)", .0.display())]
    Taken(PathBuf),
}

/// A folder that this process holds for as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: Option<File>,
}

impl Folder {
    /// Takes a folder below `base` and brings what others have left there.
    pub fn take(base: &Path) -> Result<Self, FolderError> {
        let failed = |source: io::Error| FolderError::Io { path: base.to_owned(), source };
        create(base).map_err(failed)?;
        for number in 1..=MAX_PROCESSES {
            let path = base.join(number.to_string());
            create(&path).map_err(failed)?;
            let Some(lock) = lock(&path).map_err(failed)? else { continue };
            let folder = Self { path, _lock: lock };
            folder.adopt(base, number).map_err(failed)?;
            return Ok(folder);
        }
        Err(FolderError::Taken(base.to_owned()))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the files of folders that nobody holds to the end of one's own queue.
    fn adopt(&self, base: &Path, own: usize) -> io::Result<()> {
        for number in (1..=MAX_PROCESSES).filter(|number| *number != own) {
            let path = base.join(number.to_string());
            if !path.is_dir() {
                continue;
            }
            let Some(_held) = lock(&path)? else { continue };
            for lane in lanes(&path)? {
                let files = files(&path.join(&lane))?;
                if files.is_empty() {
                    continue;
                }
                let to = self.path.join(&lane);
                create(&to)?;
                let next = self::files(&to)?.last().map_or(1, |(number, _)| number + 1);
                info!(from = %path.display(), files = files.len(), "batches of a process that is gone are taken over");
                for (number, (_, file)) in (next..).zip(files) {
                    fs::rename(&file, file_path(&to, number))?;
                }
                File::open(&to)?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// Makes a folder that nobody else reads.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The lock of a folder; `None` where somebody else holds it.
#[expect(clippy::option_option, reason = "a file system may know no locks, which is no reason not to go on")]
fn lock(path: &Path) -> io::Result<Option<Option<File>>> {
    let file = File::create(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Some(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            warn!(%error, "the folder of the spool cannot be locked");
            Ok(Some(None))
        }
    }
}

/// Names of the folders in a folder.
fn lanes(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

/// The files of a log in their order, each with its number.
pub(crate) fn files(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|extension| extension == SUFFIX);
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (true, Some(number)) = (is_ours, number) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Where the file of a number lies.
pub(crate) fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{SUFFIX}"))
}
