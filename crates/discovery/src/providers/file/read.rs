//! Which files there are, which have changed, and what was last read from each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::groups::{ListFormat, MAX_ANSWER_BYTES, MAX_TARGETS, read_list};
use crate::provider::{FoundLabels, TargetGroup, Update};

/// Label with the path of the file.
const FILEPATH_LABEL: &str = "__meta_filepath";

/// Files that one provider reads.
const MAX_FILES: usize = 10_000;

/// By what a changed file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature {
    /// Device and number: a link that leads elsewhere shows here even where times and lengths are alike.
    file: (u64, u64),
    modified: (i64, i64),
    length: u64,
}

impl Signature {
    fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        let modified = (data.mtime(), data.mtime_nsec());
        Some(Self { file: (data.dev(), data.ino()), modified, length: data.len() })
    }
}

/// One file: what it held when it was last good, and what is wrong with it now.
#[derive(Debug, Default)]
struct Seen {
    signature: Option<Signature>,
    groups: Vec<TargetGroup>,
    /// It was good at least once.
    read: bool,
    problem: Option<String>,
}

/// All files of a provider.
#[derive(Debug)]
pub(super) struct Files {
    patterns: Vec<String>,
    seen: BTreeMap<PathBuf, Seen>,
    problem: Option<String>,
    /// Sources of groups that were told.
    told: BTreeSet<String>,
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The groups may be others than before.
    pub(super) changed: bool,
    /// Something is wrong that was not told before, or all was to be read and something is wrong.
    pub(super) problem: Option<String>,
}

impl Files {
    pub(super) fn new(patterns: Vec<String>) -> Self {
        Self { patterns, seen: BTreeMap::new(), problem: None, told: BTreeSet::new() }
    }

    /// The last good groups of each file that exists: all there are, unless a file was not good even once yet.
    pub(super) fn told(&mut self) -> Update {
        let mut groups: Vec<TargetGroup> =
            self.seen.values().flat_map(|seen| seen.groups.iter().cloned()).collect();
        let sources = groups.iter().map(|group| group.source.clone()).collect();
        let before = std::mem::replace(&mut self.told, sources);
        if self.seen.values().all(|seen| seen.read) {
            return Update::All(groups);
        }
        // What was told of files and lists that are gone goes all the same.
        let gone = before.difference(&self.told).cloned();
        groups.extend(gone.map(|source| TargetGroup { source, ..TargetGroup::default() }));
        Update::Some(groups)
    }

    /// Reads what has changed, or everything. A file that is gone has no groups; one that is broken keeps its last.
    pub(super) fn look(&mut self, all: bool) -> Outcome {
        let (paths, mut problem) = self.paths();
        let known = self.seen.len();
        self.seen.retain(|path, _| paths.contains(path));
        let mut changed = self.seen.len() != known;
        for path in paths {
            changed |= self.look_at(path, all);
        }
        let targets: usize =
            self.seen.values().flat_map(|seen| &seen.groups).map(|group| group.targets.len()).sum();
        if targets > MAX_TARGETS {
            problem =
                Some(format!("the files list {targets} targets, more than the {MAX_TARGETS} of one source"));
        }
        let problem = problem.or_else(|| self.seen.values().find_map(|seen| seen.problem.clone()));
        let tell = all || changed || problem != self.problem;
        self.problem.clone_from(&problem);
        Outcome { changed, problem: problem.filter(|_| tell) }
    }

    /// Reads one file where needed; whether its groups have changed.
    fn look_at(&mut self, path: PathBuf, all: bool) -> bool {
        let signature = Signature::of(&path);
        let seen = self.seen.entry(path.clone()).or_default();
        if !all && signature.is_some() && seen.signature == signature {
            return false;
        }
        seen.signature = signature;
        match read(&path) {
            Ok(groups) => {
                // A file that is mended tells so, even with what it had before it was broken.
                let mended = seen.problem.take().is_some();
                let changed = mended || !seen.read || seen.groups != groups;
                seen.read = true;
                seen.groups = groups;
                changed
            }
            Err(problem) => {
                seen.problem = Some(format!("{}: {problem}; what it held before stands", path.display()));
                false
            }
        }
    }

    /// The files that there are, and the first pattern that names none or cannot be followed.
    fn paths(&self) -> (Vec<PathBuf>, Option<String>) {
        let mut paths = Vec::new();
        let mut problem = None;
        for pattern in &self.patterns {
            match matches(pattern) {
                Ok(found) => paths.extend(found),
                Err(Unmatched::Gone(sentence)) => problem = problem.or(Some(sentence)),
                Err(Unmatched::Unreadable(sentence)) => {
                    paths.extend(self.seen.keys().filter(|path| named(pattern, path)).cloned());
                    problem = problem.or(Some(sentence));
                }
            }
        }
        paths.sort();
        paths.dedup();
        if paths.len() > MAX_FILES {
            problem = Some(format!(
                "the patterns match {} files; only the first {MAX_FILES} are read",
                paths.len()
            ));
            paths.truncate(MAX_FILES);
        }
        (paths, problem)
    }
}

fn read(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let shown = path.display().to_string();
    // Opening a pipe would wait for someone who writes.
    if fs::metadata(path).is_ok_and(|data| !data.is_file()) {
        return Err("it is no regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
    let mut text = String::new();
    let limit = MAX_ANSWER_BYTES as u64;
    let length = file
        .take(limit + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if length > MAX_ANSWER_BYTES {
        return Err(format!("it is longer than {} MiB", MAX_ANSWER_BYTES >> 20));
    }
    let json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let format = if json { ListFormat::Json } else { ListFormat::Yaml };
    let extra = FoundLabels::from([(FILEPATH_LABEL.to_owned(), shown.clone())]);
    read_list(&text, format, &shown, &extra).map_err(|error| error.to_string())
}

/// Why a pattern names no files.
enum Unmatched {
    /// There are none.
    Gone(String),
    /// It cannot be told now.
    Unreadable(String),
}

/// Whether a pattern with `*` in its last part stands for this file.
fn named(pattern: &str, path: &Path) -> bool {
    let (pattern, part) = (Path::new(pattern), |path: &Path| Some(path.file_name()?.to_str()?.to_owned()));
    let fits = part(pattern).zip(part(path)).is_some_and(|(pattern, name)| fits(&pattern, &name));
    fits && pattern.parent() == path.parent()
}

/// The files that a path with `*` in its last part stands for. A plain path must exist, a pattern may match nothing.
fn matches(pattern: &str) -> Result<Vec<PathBuf>, Unmatched> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') {
        return match fs::metadata(path) {
            Ok(_) => Ok(vec![path.to_owned()]),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Unmatched::Gone(format!("{pattern}: there is no such file")))
            }
            // It is there, only not to be seen now.
            Err(_) => Ok(vec![path.to_owned()]),
        };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).map_err(|error| {
        let sentence = format!("{}: {error}", folder.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Unmatched::Gone(sentence),
            _ => Unmatched::Unreadable(sentence),
        }
    })?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok(names.filter(|found| fits(name, found)).map(|found| parent.join(found)).take(MAX_FILES + 1).collect())
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fit) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("*.json", "a.yml", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }
}
