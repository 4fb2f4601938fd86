//! What is found while a file is read: mistakes, what is not supported, files that it names.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// Mistakes that are told at once; more are counted.
const MAX_PROBLEMS: usize = 100;
/// Notices of one kind that are kept for one file.
const MAX_NOTICES: usize = 10_000;

/// A place in a file, counted from 1; 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// Which field: `scrape_configs[0].basic_auth`; empty where it is about no field.
    pub path: String,
    /// What is wrong and what to do. Never holds a secret.
    pub message: String,
}

/// Something that is written and that the reader should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// Which field, or which file is referred to.
    pub what: String,
    /// What that means, and what to use instead where there is something.
    pub message: String,
}

fn write_place(f: &mut fmt::Formatter<'_>, file: &Path, place: Place) -> fmt::Result {
    match place {
        Place { line: 0, .. } => write!(f, "{}: ", file.display()),
        Place { line, column } => write!(f, "{}:{line}:{column}: ", file.display()),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.place)?;
        write!(f, "{}: {}", self.what, self.message)
    }
}

/// Everything found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    pub(super) unsupported: Vec<Notice>,
    pub(super) notes: Vec<Notice>,
    pub(super) references: Vec<Notice>,
}

impl Found {
    pub(super) fn append(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.unsupported.extend(other.unsupported);
        self.notes.extend(other.notes);
        self.references.extend(other.references);
    }
}

/// One file being read.
pub(super) struct Context {
    file: PathBuf,
    folder: PathBuf,
    found: RefCell<Found>,
    untold: RefCell<usize>,
}

impl Context {
    pub(super) fn new(file: &Path) -> Self {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        Self { file: file.to_owned(), folder, found: RefCell::default(), untold: RefCell::default() }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// A path as it is meant: relative to the file.
    pub(super) fn resolve(&self, path: &str) -> String {
        self.folder.join(path).to_string_lossy().into_owned()
    }

    pub(super) fn problem(&self, place: Place, path: &str, message: impl Into<String>) {
        let mut found = self.found.borrow_mut();
        if found.problems.len() >= MAX_PROBLEMS {
            *self.untold.borrow_mut() += 1;
            return;
        }
        let (file, path, message) = (self.file.clone(), path.to_owned(), message.into());
        found.problems.push(Problem { file, place, path, message });
    }

    pub(super) fn unsupported(&self, place: Place, what: impl Into<String>, message: impl Into<String>) {
        self.add(|found| &mut found.unsupported, place, what.into(), message.into());
    }

    pub(super) fn note(&self, place: Place, what: impl Into<String>, message: impl Into<String>) {
        self.add(|found| &mut found.notes, place, what.into(), message.into());
    }

    pub(super) fn reference(&self, place: Place, file: &str, field: &str) {
        self.add(|found| &mut found.references, place, file.to_owned(), field.to_owned());
    }

    fn add(&self, list: fn(&mut Found) -> &mut Vec<Notice>, place: Place, what: String, message: String) {
        let mut found = self.found.borrow_mut();
        let list = list(&mut found);
        if list.len() < MAX_NOTICES {
            list.push(Notice { file: self.file.clone(), place, what, message });
        }
    }

    /// What was found, in the order of the file.
    pub(super) fn finish(self) -> Found {
        let mut found = self.found.into_inner();
        found.problems.sort_by_key(|problem| problem.place);
        for list in [&mut found.unsupported, &mut found.notes, &mut found.references] {
            list.sort_by_key(|notice| notice.place);
        }
        let untold = self.untold.into_inner();
        if untold > 0 {
            let (file, place) = (self.file, Place::default());
            let message = format!("{untold} further mistakes are not listed");
            found.problems.push(Problem { file, place, path: String::new(), message });
        }
        found
    }
}
