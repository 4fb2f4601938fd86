//! `static_configs`.

use super::section::Section;
use super::value::shown;
use crate::config::{ProviderConfig, StaticGroup};

/// Takes `static_configs` out of a job. Without rules an address is used as it is, so it is checked here.
pub(super) fn read(job: &mut Section<'_>, without_rules: bool) -> Option<ProviderConfig> {
    let cx = job.cx;
    let mut groups = Vec::new();
    for (path, node) in job.list("static_configs") {
        let Some(mut group) = Section::open(cx, path, node) else { continue };
        let mut targets = Vec::new();
        for (target, place) in group.texts("targets") {
            if without_rules && target.contains('/') {
                let message = format!(
                    "{} is not host:port; scheme and path have fields of their own, scheme and metrics_path",
                    shown(&target)
                );
                cx.problem(place, &group.path_of("targets"), message);
            }
            targets.push(target);
        }
        let labels = group.text_map("labels");
        if labels.contains_key("") {
            group.problem("labels", "a label has no name");
        }
        group.close();
        groups.push(StaticGroup { targets, labels });
    }
    (!groups.is_empty()).then_some(ProviderConfig::Static(groups))
}
