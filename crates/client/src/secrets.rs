//! Reads secrets from where settings say they are, again when that may have changed.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metricsd_model::{Secret, SecretSource};
use parking_lot::Mutex;

use crate::context::Context;
use crate::error::ClientError;

/// A file is looked at again after this long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that was written this recently may be written again without its times telling.
const SETTLED: Duration = Duration::from_secs(2);

/// The largest file; a bundle of all public certificate authorities has 200 kB.
const MAX_FILE: u64 = 4 << 20;

/// Files that are remembered; those beyond are read every time.
const MAX_FILES: usize = 10_000;

/// A secret as it was read.
pub(crate) type Text = Arc<Secret>;

impl Context {
    /// Reads one secret.
    pub(crate) async fn secret(&self, source: &SecretSource) -> Result<Text, ClientError> {
        self.access
            .check(source)
            .map_err(|error| ClientError::credentials(format!("a setting of the request {error}")))?;
        match source {
            SecretSource::Inline(secret) => Ok(Arc::new(secret.clone())),
            SecretSource::File(path) => {
                let path = self.access.resolve(path);
                self.files.read(&path, self.access.folder()).await.map_err(ClientError::credentials)
            }
            SecretSource::Env(name) => {
                (self.environment)(name).map(|value| Arc::new(Secret::new(value))).ok_or_else(|| {
                    let message = format!("the variable {name} is not in the environment of this process");
                    ClientError::credentials(message)
                })
            }
            SecretSource::Sealed(_) => {
                Err(ClientError::credentials("a secret was sealed with another key than secrets.key"))
            }
        }
    }

    /// Reads a secret where there is one.
    pub(crate) async fn optional(&self, source: Option<&SecretSource>) -> Result<Option<Text>, ClientError> {
        match source {
            Some(source) => self.secret(source).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Contents of files, and when each was looked at. Clones share them.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<HashMap<Key, Known>>>);

/// A path, and the folder that it must be in: what the operator may read is not known to others.
type Key = (PathBuf, Option<PathBuf>);

struct Known {
    looked: Instant,
    stamp: Option<Stamp>,
    content: Result<Text, String>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// The text of a file, white space around it left out. `folder` is where it must really be, links followed.
    async fn read(&self, path: &Path, folder: Option<&Path>) -> Result<Text, String> {
        let key: Key = (path.to_owned(), folder.map(Path::to_owned));
        let mut before = None;
        if let Some(known) = self.0.lock().get_mut(&key) {
            if known.looked.elapsed() < LOOK_EVERY {
                return known.content.clone();
            }
            // Others go on with what is known while this one looks.
            known.looked = Instant::now();
            before = known.stamp;
        }
        let asked = key.clone();
        let looked = tokio::task::spawn_blocking(move || look(&asked.0, asked.1.as_deref(), before)).await;
        let looked =
            looked.unwrap_or_else(|_| Looked::Now(None, Err("reading a file was broken off".into())));
        let mut files = self.0.lock();
        match (looked, files.get_mut(&key)) {
            (Looked::Same, Some(known)) => known.content.clone(),
            // Forgotten in between, which only its age can cause.
            (Looked::Same, None) => Err(format!("{} is to be read again", path.display())),
            (Looked::Now(stamp, content), _) => {
                if files.len() >= MAX_FILES {
                    files.retain(|_, known| known.looked.elapsed() < LOOK_EVERY);
                }
                if files.len() < MAX_FILES {
                    let looked = Instant::now();
                    files.insert(key, Known { looked, stamp, content: content.clone() });
                }
                content
            }
        }
    }
}

enum Looked {
    Same,
    Now(Option<Stamp>, Result<Text, String>),
}

/// Reads a file unless it is as it was.
fn look(path: &Path, folder: Option<&Path>, before: Option<Stamp>) -> Looked {
    let failed = |error: io::Error| format!("the file {} cannot be read: {error}", path.display());
    let place = match place(path, folder) {
        Ok(place) => place,
        Err(error) => return Looked::Now(None, Err(failed(error))),
    };
    let metadata = match std::fs::metadata(&place) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Looked::Now(None, Err(format!("{} is not a file", path.display()))),
        Err(error) => return Looked::Now(None, Err(failed(error))),
    };
    let stamp = Stamp {
        file: (metadata.dev(), metadata.ino()),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    if before == Some(stamp) {
        return Looked::Same;
    }
    let settled = |time: SystemTime| time.elapsed().is_ok_and(|age| age > SETTLED);
    let settled = metadata.modified().is_ok_and(settled);
    let content = content(&place).map_err(failed);
    Looked::Now(settled.then_some(stamp).filter(|_| content.is_ok()), content)
}

fn place(path: &Path, folder: Option<&Path>) -> io::Result<PathBuf> {
    let Some(folder) = folder else {
        return Ok(path.to_owned());
    };
    let place = path.canonicalize()?;
    match place.starts_with(folder.canonicalize()?) {
        true => Ok(place),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is a link to a place outside scrape.secrets_dir",
        )),
    }
}

fn content(path: &Path) -> io::Result<Text> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        let message = format!("it is larger than {MAX_FILE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(Arc::new(Secret::new(text.trim())))
}
