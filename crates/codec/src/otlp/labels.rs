//! Labels of data points, as the bytes in which a series carries them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::names::label_name;
use super::value::Attribute;
use super::{OtlpOptions, Translation};
use crate::remote_write::{label_bytes, push_raw_label};

/// Labels that all series of a scope have.
#[derive(Debug, Clone, Default)]
pub(super) struct BaseLabels {
    /// Whether a label goes before an attribute of the same name, the name, the value.
    labels: Vec<(bool, String, String)>,
    /// Places of the labels, in the order of their names.
    order: Vec<usize>,
    bytes: Vec<u8>,
}

impl BaseLabels {
    /// `job` and `instance` are who the resource is, whatever its data points say; the others stand back.
    pub(super) fn new(identity: &[(&str, String)], others: BTreeMap<String, String>) -> Self {
        let own = |name: &str| identity.iter().any(|(known, _)| *known == name);
        let mut labels: Vec<(bool, String, String)> =
            identity.iter().map(|(name, value)| (true, (*name).to_owned(), value.clone())).collect();
        labels.extend(
            others.into_iter().filter(|(name, _)| !own(name)).map(|(name, value)| (false, name, value)),
        );
        labels.retain(|(_, name, value)| !name.is_empty() && !value.is_empty());
        let bytes = label_bytes(labels.iter().map(|(_, name, value)| (name.as_str(), value.as_str())));
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_unstable_by(|one, other| name_at(&labels, *one).cmp(name_at(&labels, *other)));
        Self { labels, order, bytes }
    }

    /// As a series carries them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn has(&self, name: &str) -> bool {
        self.order.binary_search_by(|place| name_at(&self.labels, *place).cmp(name)).is_ok()
    }
}

fn name_at(labels: &[(bool, String, String)], place: usize) -> &str {
    labels.get(place).map_or("", |(_, name, _)| name)
}

/// Writes the labels of one data point after the other. The data points of a metric usually have the same keys in the
/// same order, so that a key's label is remembered by its place.
#[derive(Debug, Default)]
pub(super) struct PointLabels<'a> {
    names: Vec<(&'a str, Cow<'a, str>)>,
    /// Places of attributes, in the order of their labels.
    order: Vec<usize>,
    bytes: Vec<u8>,
}

/// Names that a series gets by itself.
const OWN_NAMES: [&str; 3] = ["__name__", "le", "quantile"];

impl<'a> PointLabels<'a> {
    /// The labels of the data point that was written last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the labels of a data point. `own` is the label that its series get beside: `le` or `quantile`.
    pub(super) fn write(
        &mut self,
        translation: Translation,
        base: &BaseLabels,
        attributes: &[Attribute<'a>],
        own: Option<&str>,
    ) {
        for (place, attribute) in attributes.iter().enumerate() {
            match self.names.get_mut(place) {
                Some((key, _)) if *key == attribute.key => {}
                Some(entry) => *entry = (attribute.key, label_name(translation, attribute.key)),
                None => self.names.push((attribute.key, label_name(translation, attribute.key))),
            }
        }
        let names = &self.names;
        let name = |place: &usize| names.get(*place).map_or("", |(_, name)| name.as_ref());
        self.order.clear();
        self.order.extend(0..attributes.len());
        self.order.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        let is_own = |name: &str| name == "__name__" || own == Some(name);
        let plain = self.order.windows(2).all(|pair| match pair {
            [one, other] => name(one) != name(other),
            _ => true,
        }) && !self.order.iter().any(|place| is_own(name(place)) || base.has(name(place)));
        self.bytes.clear();
        if !plain {
            return self.write_colliding(base, attributes, own);
        }
        self.bytes.extend_from_slice(&base.bytes);
        for place in &self.order {
            let name = name(place);
            if let Some(attribute) = attributes.get(*place)
                && !attribute.value.is_empty()
                && !name.is_empty()
            {
                push_raw_label(&mut self.bytes, name.as_bytes(), attribute.value.as_bytes());
            }
        }
    }

    /// Where labels have one name: attributes are joined in the order of their keys, `job` and `instance` go before
    /// them, they before what else the resource says, and what a series gets by itself before all.
    #[cold]
    fn write_colliding(&mut self, base: &BaseLabels, attributes: &[Attribute<'a>], own: Option<&str>) {
        let named =
            attributes.iter().zip(&self.names).map(|(attribute, (_, name))| (name.as_ref(), attribute));
        let mut labels = joined(named);
        for (goes_before, name, value) in &base.labels {
            if *goes_before || !labels.contains_key(name) {
                labels.insert(name.clone(), value.clone());
            }
        }
        let taken = |name: &str| OWN_NAMES.contains(&name) && (name == "__name__" || own == Some(name));
        for (name, value) in labels.iter().filter(|(name, value)| !value.is_empty() && !taken(name)) {
            push_raw_label(&mut self.bytes, name.as_bytes(), value.as_bytes());
        }
    }
}

/// Attributes by their labels; those of one label are joined in the order of their keys.
fn joined<'n>(attributes: impl Iterator<Item = (&'n str, &'n Attribute<'n>)>) -> BTreeMap<String, String> {
    let mut all: Vec<(&str, &Attribute<'_>)> = attributes.filter(|(name, _)| !name.is_empty()).collect();
    all.sort_by_key(|(_, attribute)| attribute.key);
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let mut last_key = "";
    for (name, attribute) in all {
        match labels.get_mut(name) {
            // A key that stands there twice is an error of the sender; the first counts.
            Some(_) if attribute.key == last_key => {}
            Some(value) => {
                value.push(';');
                value.push_str(&attribute.value);
            }
            None => {
                labels.insert(name.to_owned(), attribute.value.clone().into_owned());
            }
        }
        last_key = attribute.key;
    }
    labels
}

/// Attributes as labels, for those that are written once a resource or scope.
pub(super) fn labels_of(
    options: &OtlpOptions,
    prefix: &str,
    attributes: &[Attribute<'_>],
) -> BTreeMap<String, String> {
    let named: Vec<(String, &Attribute<'_>)> = attributes
        .iter()
        .filter(|attribute| !attribute.key.is_empty())
        .map(|attribute| {
            let name = match prefix {
                "" => label_name(options.translation, attribute.key).into_owned(),
                prefix => label_name(options.translation, &format!("{prefix}{}", attribute.key)).into_owned(),
            };
            (name, attribute)
        })
        .collect();
    joined(named.iter().map(|(name, attribute)| (name.as_str(), *attribute)))
}
