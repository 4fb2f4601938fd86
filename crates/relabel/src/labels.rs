//! A label list as rules see it.

use crate::limits::{MAX_LABELS, MAX_VALUE_BYTES};

/// Names and values; names are unique, in any order.
pub(crate) type Labels = Vec<(String, String)>;

/// A label's value; empty where it is absent.
pub(crate) fn get<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
}

/// Sets a label, or removes it where the value is empty. Says nothing of what is too long or too much: that is not done.
pub(crate) fn set(labels: &mut Labels, name: &str, value: &str) {
    if name.is_empty() || name.len() > MAX_VALUE_BYTES || value.len() > MAX_VALUE_BYTES {
        return;
    }
    let known = labels.iter().position(|(label, _)| label == name);
    match known {
        Some(at) if value.is_empty() => {
            labels.remove(at);
        }
        Some(at) => {
            if let Some((_, old)) = labels.get_mut(at)
                && old != value
            {
                old.clear();
                old.push_str(value);
            }
        }
        None if value.is_empty() || labels.len() >= MAX_LABELS => {}
        None => labels.push((name.to_owned(), value.to_owned())),
    }
}
