//! Puts one key into metricsd's configuration file, and leaves everything else in it as it is.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::KEY;
use crate::cli::{Environment, Failure};
use crate::config::Sources;

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// It says so already.
    Unchanged,
    /// It says so now.
    Written,
}

/// Sets the key. What comes out is checked before it takes the file's place.
pub(super) fn put(file: &Path, value: &str, environment: &Environment) -> Result<Setting, Failure> {
    let cannot = |what: &str, error: std::io::Error| {
        Failure::failed(format!("{} cannot be {what}: {error}; nothing was changed", file.display()))
    };
    // A link stays a link.
    let real = fs::canonicalize(file).map_err(|error| cannot("read", error))?;
    let text = fs::read_to_string(&real).map_err(|error| cannot("read", error))?;
    let changed = edited(&text, value).map_err(|why| {
        Failure::failed(format!("{}: {why}; nothing was changed. Set {KEY}: {value} by hand", file.display()))
    })?;
    if changed == text {
        return Ok(Setting::Unchanged);
    }
    let beside = Beside(real.with_extension("metricsd-import"));
    let data = fs::metadata(&real).map_err(|error| cannot("read", error))?;
    write_as(&beside.0, &changed, &data).map_err(|error| cannot("written", error))?;
    let sources =
        Sources { file: Some(beside.0.clone()), environment: environment.clone(), flags: Vec::new() };
    if let Err(error) = sources.load() {
        let error = error.to_string().replace(&*beside.0.to_string_lossy(), &real.to_string_lossy());
        let message = format!("with the key the configuration would be wrong; nothing was changed\n{error}");
        return Err(Failure::usage(message));
    }
    fs::rename(&beside.0, &real).map_err(|error| cannot("written", error))?;
    Ok(Setting::Written)
}

/// Writes a new file that has another's owner and permissions, and never more than these.
fn write_as(path: &Path, text: &str, like: &fs::Metadata) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(like.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file that does not stay.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // It is gone already where it took the other's place.
        let _ = fs::remove_file(&self.0);
    }
}

/// The text with the key set, or why that cannot be done line by line.
fn edited(text: &str, value: &str) -> Result<String, String> {
    let (section, key) = KEY.split_once('.').unwrap_or(("", KEY));
    let quoted = serde_json::to_string(value).map_err(|error| error.to_string())?;
    let lines: Vec<&str> = text.lines().collect();
    let Some(at) = lines.iter().position(|line| field(line, section).is_some() && !line.starts_with(' '))
    else {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{gap}{section}:\n  {key}: {quoted}\n"));
    };
    if !field(lines[at], section).unwrap_or_default().is_empty() {
        return Err(format!("line {}: {section} is not written as a section of lines", at + 1));
    }
    let inside = |line: &&&str| line.starts_with(' ') || line.trim().is_empty() || line.starts_with('#');
    let length = lines[at + 1..].iter().take_while(inside).count();
    let body = &lines[at + 1..at + 1 + length];
    let child = body.iter().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let indent = child.map_or(2, |line| line.len() - line.trim_start().len());
    let line = format!("{}{key}: {quoted}", " ".repeat(indent));
    let is_key = |line: &&str| {
        line.len() - line.trim_start().len() == indent && field(line.trim_start(), key).is_some()
    };
    let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    match body.iter().position(is_key) {
        Some(place) => {
            let before = field(body[place].trim_start(), key).unwrap_or_default();
            if before == value || before == quoted || before == format!("'{value}'") {
                return Ok(text.to_owned());
            }
            changed[at + 1 + place] = line;
        }
        None => changed.insert(at + 1, line),
    }
    Ok(changed.join("\n") + "\n")
}

/// What a line says after `name:`, without comments.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(name)?.trim_start().strip_prefix(':')?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim();
    Some(if rest.starts_with('#') { "" } else { rest.split(" #").next().unwrap_or_default().trim_end() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_put_and_nothing_else_changes() {
        let check = |before: &str, expected: &str| {
            assert_eq!(edited(before, "/p.yml").as_deref(), Ok(expected), "{before}");
        };
        let own = "discovery:\n  prometheus_config: \"/p.yml\"\n";
        check("", own);
        check("listen: a", &format!("listen: a\n{own}"));
        check("# mine\nlisten: a  # here\n", &format!("# mine\nlisten: a  # here\n{own}"));
        check("discovery:\n", own);
        check(
            "discovery: # none yet\nlisten: a\n",
            "discovery: # none yet\n  prometheus_config: \"/p.yml\"\nlisten: a\n",
        );
        check(
            "discovery:\n    # first\n    other: 1\nlisten: a\n",
            "discovery:\n    prometheus_config: \"/p.yml\"\n    # first\n    other: 1\nlisten: a\n",
        );
        check(
            "discovery:\n  a: 1\n\n  prometheus_config: /old.yml\n  b: 2\n",
            "discovery:\n  a: 1\n\n  prometheus_config: \"/p.yml\"\n  b: 2\n",
        );
        for same in ["/p.yml", "\"/p.yml\"", "'/p.yml'", "/p.yml   # ours"] {
            let text = format!("discovery:\n  prometheus_config: {same}\n");
            check(&text, &text);
        }
        assert_eq!(
            edited("a: 1\ndiscovery: {other: 1}\n", "/p.yml"),
            Err("line 2: discovery is not written as a section of lines".to_owned())
        );
    }
}
