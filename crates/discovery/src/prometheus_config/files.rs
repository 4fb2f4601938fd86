//! Files of a configuration: read within a bound, and found by patterns.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::MAX_FILE_BYTES;
use super::pattern::Pattern;

/// Folders and files that are looked at for one pattern.
const MAX_LOOKED_AT: usize = 100_000;

/// Reads a text file that is not too large.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {} MiB", MAX_FILE_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("is not UTF-8: line {line} holds other bytes")
    })
}

/// Files whose paths a pattern fits, in order of their names, at most `room`. A path without wildcards is itself, whether
/// or not it is there.
pub(super) fn matching(pattern: &str, room: usize) -> Result<Vec<PathBuf>, String> {
    if !Pattern::has_wildcards(pattern) {
        return if room > 0 { Ok(vec![PathBuf::from(pattern)]) } else { Err(too_many()) };
    }
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    let mut looked_at = 0_usize;
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !Pattern::has_wildcards(part) {
            found = found.into_iter().map(|path| path.join(part)).filter(|path| path.exists()).collect();
            continue;
        }
        let part = Pattern::new(part)?;
        let mut next = Vec::new();
        for folder in &found {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
            // What is no folder, or may not be read, holds nothing.
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                looked_at += 1;
                if looked_at > MAX_LOOKED_AT {
                    return Err(format!("more than {MAX_LOOKED_AT} files lie under this pattern"));
                }
                if part.fits(&entry.file_name().to_string_lossy()) {
                    next.push(folder.join(entry.file_name()));
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    if found.len() > room { Err(too_many()) } else { Ok(found) }
}

fn too_many() -> String {
    format!("more than {} files are named", super::MAX_SCRAPE_CONFIG_FILES)
}
