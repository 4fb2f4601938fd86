//! Reads a `prometheus.yml`: every field that Prometheus 3 documents for `global`, `scrape_configs` and
//! `scrape_config_files`, with its defaults and its checks.
//!
//! A file is read into a tree that remembers lines and columns (`yaml`); each section asks for the fields it knows
//! (`section`) and what nobody asked for is a mistake. All mistakes are told at once. What Prometheus knows and
//! metricsd does not do is no mistake: it is listed, and whoever loads the file decides.

mod consul;
mod context;
mod dns;
mod file_sd;
mod files;
mod global;
mod http;
mod http_sd;
mod job;
mod kubernetes;
mod pattern;
mod relabel;
mod section;
mod static_sd;
mod tls;
mod unsupported;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::JobConfig;
use context::{Context, Found};
use section::Section;

pub use context::{Notice, Place, Problem};
pub use global::GlobalConfig;

/// Bytes that one file may have.
pub const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Files that the patterns of `scrape_config_files` may name together.
pub const MAX_SCRAPE_CONFIG_FILES: usize = 1_000;

/// What a file comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct PrometheusConfig {
    /// Jobs in the order in which they are written, those of `scrape_config_files` last.
    pub jobs: Vec<JobConfig>,
    /// What is valid for all of them.
    pub global: GlobalConfig,
    /// What is written but not done: without it something would not be scraped, stored or told as before.
    pub unsupported: Vec<Notice>,
    /// What is written and has no effect, although nothing is lost by it.
    pub notes: Vec<Notice>,
    /// Files that hold the configuration: the file itself, and those that `scrape_config_files` names.
    pub files: Vec<PathBuf>,
    /// Patterns of `scrape_config_files`; files may appear under them.
    pub patterns: Vec<String>,
    /// Files with secrets, keys and certificates, and where they are named.
    pub references: Vec<Notice>,
}

/// Why a file cannot be used: all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusConfigError {
    /// At least one, in the order of files and lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for PrometheusConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PrometheusConfigError {}

/// Reads and checks a file, and those that its `scrape_config_files` names. Relative paths in a file are relative to it.
///
/// # Errors
/// All mistakes of all files; none of them is used then.
pub fn load(path: &Path) -> Result<PrometheusConfig, PrometheusConfigError> {
    let text = files::read(path).map_err(|message| whole_file(path, message))?;
    parse(&text, path)
}

/// The same where the text of the file at `path` has been read already.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path) -> Result<PrometheusConfig, PrometheusConfigError> {
    let mut config = Assembly::default();
    let cx = Context::new(path);
    let global = match yaml::read(text) {
        Ok(tree) => config.main_file(&cx, &tree),
        Err((place, message)) => {
            cx.problem(place, "", message);
            GlobalConfig::default()
        }
    };
    config.close(cx);
    config.finish(global)
}

fn whole_file(path: &Path, message: String) -> PrometheusConfigError {
    let place = Place { line: 0, column: 0 };
    PrometheusConfigError {
        problems: vec![Problem { file: path.to_owned(), place, path: String::new(), message }],
    }
}

/// Gathers what several files say.
#[derive(Default)]
struct Assembly {
    jobs: Vec<JobConfig>,
    /// Where each job is written.
    names: HashMap<String, String>,
    found: Found,
    files: Vec<PathBuf>,
    patterns: Vec<String>,
}

impl Assembly {
    fn main_file(&mut self, cx: &Context, tree: &yaml::Node) -> GlobalConfig {
        let Some(mut root) = Section::open(cx, String::new(), tree) else { return GlobalConfig::default() };
        let global = global::read(&mut root);
        self.jobs(cx, &mut root, &global);
        let named = root.texts("scrape_config_files");
        unsupported::top_level(&mut root);
        root.close();
        for (pattern, place) in named {
            self.further_files(cx, &pattern, place, &global);
        }
        global
    }

    fn jobs(&mut self, cx: &Context, root: &mut Section<'_>, global: &GlobalConfig) {
        for (path, node) in root.list("scrape_configs") {
            let Some(job) = job::read(cx, path.clone(), node, global) else { continue };
            let here = format!("{}:{}", cx.file().display(), node.place.line);
            match self.names.get(&job.name) {
                Some(other) => {
                    let name = &job.name;
                    cx.problem(node.place, &path, format!("there is a job {name:?} already, at {other}"));
                }
                None => {
                    self.names.insert(job.name.clone(), here);
                    self.jobs.push(job);
                }
            }
        }
    }

    fn further_files(&mut self, cx: &Context, pattern: &str, place: Place, global: &GlobalConfig) {
        let pattern = cx.resolve(pattern);
        self.patterns.push(pattern.clone());
        let room = MAX_SCRAPE_CONFIG_FILES.saturating_sub(self.files.len());
        match files::matching(&pattern, room) {
            Ok(paths) => {
                for path in paths {
                    self.further_file(cx, &path, place, global);
                }
            }
            Err(message) => cx.problem(place, "scrape_config_files", message),
        }
    }

    fn further_file(&mut self, main: &Context, path: &Path, place: Place, global: &GlobalConfig) {
        // Opening a pipe would wait for someone who writes.
        let regular = match path.metadata().is_ok_and(|data| !data.is_file()) {
            true => Err("is no regular file".to_owned()),
            false => files::read(path),
        };
        let text = match regular {
            Ok(text) => text,
            Err(error) => {
                return main.problem(place, "scrape_config_files", format!("{}: {error}", path.display()));
            }
        };
        let cx = Context::new(path);
        match yaml::read(&text) {
            Ok(tree) => {
                if let Some(mut root) = Section::open(&cx, String::new(), &tree) {
                    self.jobs(&cx, &mut root, global);
                    root.close();
                }
            }
            Err((place, message)) => cx.problem(place, "", message),
        }
        self.close(cx);
    }

    fn close(&mut self, cx: Context) {
        self.files.push(cx.file().to_owned());
        self.found.append(cx.finish());
    }

    fn finish(mut self, global: GlobalConfig) -> Result<PrometheusConfig, PrometheusConfigError> {
        if !self.found.problems.is_empty() {
            return Err(PrometheusConfigError { problems: self.found.problems });
        }
        // The file itself is read to its end after those that it names.
        self.files.rotate_right(1);
        Ok(PrometheusConfig {
            jobs: self.jobs,
            global,
            unsupported: self.found.unsupported,
            notes: self.found.notes,
            files: self.files,
            patterns: self.patterns,
            references: self.found.references,
        })
    }
}
