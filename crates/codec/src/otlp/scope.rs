//! Resources and instrumentation scopes: who says what their data points say.

use std::collections::BTreeMap;

use super::OtlpOptions;
use super::labels::{BaseLabels, labels_of};
use super::value::{Attribute, attribute};
use crate::wire::{Reader, WireError};

/// Attributes by which a resource is known, which `job` and `instance` say.
const IDENTIFYING: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// Attributes of a resource or a scope that are read.
const MAX_ATTRIBUTES: usize = 1_024;

/// A resource in labels.
#[derive(Debug, Default)]
pub(super) struct Resource {
    /// `job` and `instance`, as far as they are known.
    identity: Vec<(&'static str, String)>,
    /// Labels of all its series.
    promoted: BTreeMap<String, String>,
    /// Labels of `target_info`; absent where that would say nothing.
    pub(super) info: Option<BaseLabels>,
}

impl Resource {
    /// Reads a `Resource`; several in one message are one.
    pub(super) fn read(readers: &[Reader<'_>], options: &OtlpOptions) -> Result<Self, WireError> {
        let mut attributes = Vec::new();
        for reader in readers {
            read_attributes(*reader, 1, &mut attributes)?;
        }
        let value = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute.key == key);
            found.map_or("", |attribute| attribute.value.as_ref())
        };
        let job = match (value("service.namespace"), value("service.name")) {
            (_, "") => String::new(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        let identity = [("job", job), ("instance", value("service.instance.id").to_owned())];
        let identity: Vec<_> = identity.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let chosen: Vec<Attribute<'_>> =
            attributes.iter().filter(|attribute| options.promotion.takes(attribute.key)).cloned().collect();
        let promoted = labels_of(options, "", &chosen);
        let described = attributes.iter().any(|attribute| !IDENTIFYING.contains(&attribute.key));
        attributes.retain(|attribute| options.keep_identifying || !IDENTIFYING.contains(&attribute.key));
        let info = (described && !identity.is_empty())
            .then(|| BaseLabels::new(&identity, labels_of(options, "", &attributes)));
        Ok(Self { identity, promoted, info })
    }

    /// Labels of a scope's series.
    pub(super) fn base(&self, scope: BTreeMap<String, String>) -> BaseLabels {
        let mut others = scope;
        others.extend(self.promoted.iter().map(|(name, value)| (name.clone(), value.clone())));
        BaseLabels::new(&self.identity, others)
    }
}

/// Labels of a scope, where they are asked for.
pub(super) fn scope_labels(
    readers: &[Reader<'_>],
    schema_url: &str,
    options: &OtlpOptions,
) -> Result<BTreeMap<String, String>, WireError> {
    if !options.scope_labels {
        return Ok(BTreeMap::new());
    }
    let (mut name, mut version, mut attributes) = ("", "", Vec::new());
    for reader in readers {
        let mut fields = *reader;
        while !fields.is_empty() {
            match fields.tag()? {
                (1, wire) => name = fields.text(wire)?,
                (2, wire) => version = fields.text(wire)?,
                (_, wire) => fields.skip(wire)?,
            }
        }
        read_attributes(*reader, 3, &mut attributes)?;
    }
    let mut labels = labels_of(options, "otel_scope_", &attributes);
    for (label, value) in
        [("otel_scope_name", name), ("otel_scope_version", version), ("otel_scope_schema_url", schema_url)]
    {
        labels.insert(label.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn read_attributes<'a>(
    mut reader: Reader<'a>,
    field: u32,
    into: &mut Vec<Attribute<'a>>,
) -> Result<(), WireError> {
    while !reader.is_empty() {
        match reader.tag()? {
            (number, wire) if number == field => {
                let message = reader.message(wire, "an attribute")?;
                if into.len() == MAX_ATTRIBUTES {
                    return Err(reader.error("has more than 1024 attributes"));
                }
                into.push(attribute(message)?);
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(())
}
