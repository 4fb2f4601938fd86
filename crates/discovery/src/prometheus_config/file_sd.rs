//! `file_sd_configs`.

use metricsd_model::PromDuration;

use super::global::filled;
use super::section::Section;
use super::value::shown;
use crate::config::{FileSd, ProviderConfig};

const REFRESH: PromDuration = PromDuration::from_secs(300);

/// Reads one entry.
pub(super) fn read(mut section: Section<'_>) -> Option<ProviderConfig> {
    let mut files = Vec::new();
    let named = section.texts("files");
    if named.is_empty() {
        section.problem("files", "no file is named");
    }
    for (file, place) in named {
        if let Err(message) = check(&file) {
            section.cx.problem(place, &section.path_of("files"), message);
        }
        files.push(section.cx.resolve(&file));
    }
    let refresh_interval = filled(section.duration("refresh_interval")).unwrap_or(REFRESH);
    section.close();
    Some(ProviderConfig::File(FileSd { files, refresh_interval }))
}

fn check(file: &str) -> Result<(), String> {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let endings = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
    if !endings.iter().any(|ending| name.ends_with(ending)) {
        return Err(format!("{} must end in .json, .yml or .yaml", shown(file)));
    }
    if folder.contains('*') || name.matches('*').count() > 1 {
        return Err(format!("{}: * may stand once, in the last part of the path", shown(file)));
    }
    Ok(())
}
