//! Names of targets and sources: stable, readable, short enough for the catalogue.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Characters of a name.
const MAX: usize = 100;
/// Hex digits of the hash at its end.
const DIGITS: usize = 12;
/// Characters of the job in a target's name; the rest is for the instance.
const MAX_JOB: usize = 36;

/// `<job>@<instance>-<12 hex digits>`.
pub(super) fn target_id(job: &str, labels: &BTreeMap<String, String>, url: &str) -> String {
    let mut hash = Xxh3::new();
    // No text holds the byte 0xff, so no two lists of texts hash alike.
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0xff]);
    };
    add(job);
    add(url);
    for (name, value) in labels {
        add(name);
        add(value);
    }
    let digits = hex(hash.digest());
    let job = slug(job, MAX_JOB);
    let job = job.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let job = if job.is_empty() { "job" } else { job };
    let instance = labels.get("instance").map_or("", String::as_str);
    let instance = slug(instance, MAX - MAX_JOB - DIGITS - 2);
    format!("{job}@{instance}-{digits}")
}

/// A source's name: the label, or the beginning of one that is too long and a hash of it.
pub(super) fn source_id(job: &str) -> String {
    if job.chars().count() <= MAX {
        return job.to_owned();
    }
    let begin: String = job.chars().take(MAX - DIGITS - 1).collect();
    format!("{begin}~{}", hex(xxh3_64(job.as_bytes())))
}

fn hex(hash: u64) -> String {
    format!("{:012x}", hash >> (64 - 4 * DIGITS))
}

/// What the address of a target can hold.
fn slug(text: &str, length: usize) -> String {
    let shown = |c: char| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' };
    text.chars().take(length).map(shown).collect()
}
