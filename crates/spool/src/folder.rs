//! Where the log lies: a numbered folder for each process that shares a machine, held by a lock.
//!
//! A process takes the first number that nobody holds, and what processes that are gone have left in others. A folder has
//! a lane, numbered from 1, for each store.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tracing::info;

/// Processes that may share a folder.
const MAX_PROCESSES: usize = 256;

const SUFFIX: &str = "spool";

/// What files that were put aside end in.
const DAMAGED: &str = "damaged";

/// The file that says how far the first segment was replayed.
pub(crate) const PLACE: &str = "place";

/// The file that keeps batches which no store takes.
pub(crate) const PARKED: &str = "parked";

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
    _lock: File,
}

impl Folder {
    /// Takes a folder below `base` and brings what others have left there. It will have so many lanes: what lies in
    /// others, of a time when there were more stores, goes to the end of the first.
    pub fn take(base: &Path, lanes: usize) -> Result<Self, FolderError> {
        let failed = |source: io::Error| FolderError::Io { path: base.to_owned(), source };
        create(base).map_err(failed)?;
        for number in 1..=MAX_PROCESSES {
            let path = base.join(number.to_string());
            create(&path).map_err(failed)?;
            let Some(lock) = lock(&path).map_err(failed)? else { continue };
            let folder = Self { path, _lock: lock };
            folder.adopt(base, number, lanes).map_err(failed)?;
            return Ok(folder);
        }
        Err(FolderError::Taken(base.to_owned()))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the files of folders that nobody holds, and of lanes that are no more, to the end of one's own queues.
    fn adopt(&self, base: &Path, own: usize, count: usize) -> io::Result<()> {
        for lane in lanes(&self.path)?.iter().filter(|lane| number_of(lane, count).is_none()) {
            self.move_lane(&self.path.join(lane), 1)?;
        }
        for number in (1..=MAX_PROCESSES).filter(|number| *number != own) {
            let path = base.join(number.to_string());
            if !path.is_dir() {
                continue;
            }
            let Some(_held) = lock(&path)? else { continue };
            for lane in lanes(&path)? {
                self.move_lane(&path.join(&lane), number_of(&lane, count).unwrap_or(1))?;
            }
        }
        Ok(())
    }

    /// Moves the files of a lane that nobody uses to the end of one's own. How far they were replayed is forgotten:
    /// a store takes each batch once.
    fn move_lane(&self, from: &Path, lane: usize) -> io::Result<()> {
        let left = files(from)?;
        if left.is_empty() {
            return Ok(());
        }
        let to = self.path.join(lane.to_string());
        create(&to)?;
        forget_place(from)?;
        if files(&to)?.is_empty() {
            forget_place(&to)?;
        }
        info!(from = %from.display(), files = left.len(), "batches that another process, or another store, has left are taken over");
        for (number, (_, file)) in (last_number(&to)? + 1..).zip(left) {
            fs::rename(&file, file_path(&to, number))?;
        }
        File::open(&to)?.sync_all()
    }
}

/// The number of a lane that is in use.
fn number_of(lane: &OsStr, count: usize) -> Option<usize> {
    let number = lane.to_str()?.parse().ok()?;
    (1..=count).contains(&number).then_some(number)
}

/// Makes a folder that nobody else reads.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The lock of a folder; `None` where somebody else holds it. A file system without locks is of no use: two processes
/// would remove each other's files.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::create(path.join("lock"))?;
    let is_held = is_held(file.try_lock())?;
    Ok((!is_held).then_some(file))
}

fn is_held(answer: Result<(), TryLockError>) -> io::Result<bool> {
    match answer {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => {
            Err(io::Error::new(error.kind(), format!("its file system cannot lock files: {error}")))
        }
    }
}

/// Names of the folders in a folder.
fn lanes(path: &Path) -> io::Result<Vec<OsString>> {
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
    let ours = all(path)?.filter(|(path, _)| ends_in(path, SUFFIX));
    let mut files: Vec<_> = ours.filter_map(|(path, _)| Some((number_in(&path)?, path))).collect();
    files.sort_unstable();
    Ok(files)
}

/// The highest number that a file has, or had before it was put aside.
pub(crate) fn last_number(path: &Path) -> io::Result<u64> {
    let numbered = all(path)?.filter(|(path, _)| ends_in(path, SUFFIX) || ends_in(path, DAMAGED));
    Ok(numbered.filter_map(|(path, _)| number_in(&path)).max().unwrap_or(0))
}

/// Bytes of what was put aside.
pub(crate) fn bytes_aside(path: &Path) -> io::Result<u64> {
    let aside = |path: &Path| ends_in(path, DAMAGED) || path.file_name().is_some_and(|name| name == PARKED);
    Ok(all(path)?.filter(|(path, _)| aside(path)).map(|(_, bytes)| bytes).sum())
}

/// Puts a file aside, whole; answers where it is then.
pub(crate) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let mut to = path.with_extension(DAMAGED);
    for number in 2.. {
        if !to.try_exists()? {
            break;
        }
        to = path.with_extension(format!("{number}.{DAMAGED}"));
    }
    fs::rename(path, &to)?;
    Ok(to)
}

/// What is said about how far a file was replayed is true of that file only: it must not be there when another is made.
pub(crate) fn forget_place(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(PLACE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All files of a folder, which may be missing, with their sizes.
fn all(path: &Path) -> io::Result<impl Iterator<Item = (PathBuf, u64)> + use<>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries.into_iter().flatten() {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => all.push((entry.path(), metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all.into_iter())
}

fn ends_in(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|extension| extension == suffix)
}

fn number_in(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Where the file of a number lies.
pub(crate) fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{SUFFIX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_locked_is_refused() {
        assert!(!is_held(Ok(())).unwrap());
        assert!(is_held(Err(TryLockError::WouldBlock)).unwrap());
        let none = io::Error::from(io::ErrorKind::Unsupported);
        let error = is_held(Err(TryLockError::Error(none))).unwrap_err();
        assert!(error.to_string().contains("cannot lock files"), "{error}");
    }
}
