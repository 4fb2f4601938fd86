//! The types that the source document leaves open: `MetricFilter` and `AuthConfig`.

use std::collections::BTreeMap;

use metricsd_ingest::FilterSet;
use metricsd_model::{AuthConfig, FilterAction, MetricFilter};
use metricsd_model::{MASK, Secret};
use metricsd_scrape::check::is_reserved_header;
use serde_json::Value;

use crate::fields::{Errors, Fields, kind_of};

/// Filters of one target.
const MAX_FILTERS: usize = 100;

/// Bytes of a pattern, a user name, a header or a secret.
const MAX_TEXT: usize = 4_096;

const ACTIONS: [(&str, FilterAction); 3] = [
    ("INCLUDE", FilterAction::Include),
    ("EXCLUDE", FilterAction::Exclude),
    ("DROP_LABELS", FilterAction::DropLabels),
];

/// Reads `filters`.
pub(super) fn read_filters(fields: &mut Fields<'_>) -> Vec<MetricFilter> {
    let list = fields.list("filters").unwrap_or_default();
    if list.len() > MAX_FILTERS {
        fields.error("filters", format!("more than {MAX_FILTERS} filters"));
        return Vec::new();
    }
    let items = list.into_iter().enumerate();
    items.filter_map(|(index, item)| read_filter(index, item, fields.errors())).collect()
}

fn read_filter(index: usize, item: Value, errors: &mut Errors) -> Option<MetricFilter> {
    let path = format!("filters[{index}]");
    let map = match item {
        Value::Object(map) => map,
        other => {
            errors.add(path, format!("expected an object, found {}", kind_of(&other)));
            return None;
        }
    };
    let mut own = Errors::default();
    let mut fields = Fields::new(path.clone(), map, &mut own);
    let action = fields.one_of("action", &ACTIONS);
    let action = fields.require("action", action);
    let name = fields.string("name");
    let labels = fields.string_map("labels").unwrap_or_default();
    let drop_labels = read_drop_labels(&mut fields, action);
    if name.is_none()
        && labels.is_empty()
        && matches!(action, Some(FilterAction::Include | FilterAction::Exclude))
    {
        fields.error("name", "is required where labels names nothing to match");
    }
    if name.as_ref().is_some_and(|name| name.len() > MAX_TEXT)
        || labels.values().any(|value| value.len() > MAX_TEXT)
    {
        fields.error("name", format!("a pattern is longer than {MAX_TEXT} bytes"));
    }
    fields.finish();
    let filter = action.map(|action| MetricFilter { action, name, labels, drop_labels });
    if own.is_empty()
        && let Some(filter) = &filter
        && let Err(error) = FilterSet::compile(std::slice::from_ref(filter))
    {
        let reason = error.message.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
        own.add(format!("{path}.{}", error.field), reason);
    }
    errors.append(own);
    filter
}

fn read_drop_labels(fields: &mut Fields<'_>, action: Option<FilterAction>) -> Vec<String> {
    let list = fields.list("drop_labels");
    match (action, &list) {
        (Some(FilterAction::DropLabels), None) => fields.error("drop_labels", "is required for DROP_LABELS"),
        (Some(FilterAction::Include | FilterAction::Exclude), Some(_)) => {
            fields.error("drop_labels", "is for DROP_LABELS only");
        }
        _ => {}
    }
    let mut names = Vec::new();
    for value in list.unwrap_or_default() {
        match value {
            Value::String(name) if name.is_empty() || name == metricsd_model::METRIC_NAME => {
                fields.error("drop_labels", "names no label, or the metric's name");
            }
            Value::String(name) => names.push(name),
            other => fields.error("drop_labels", format!("expected label names, found {}", kind_of(&other))),
        }
    }
    names
}

#[derive(Clone, Copy)]
enum AuthType {
    Basic,
    Bearer,
    Header,
}

const AUTH_TYPES: [(&str, AuthType); 3] =
    [("basic", AuthType::Basic), ("bearer", AuthType::Bearer), ("header", AuthType::Header)];

/// The secret that a mask may stand for, or why it stands for none.
type Kept<'s> = Result<&'s Secret, &'static str>;

const NONE_STORED: &str = "is the mask of an answer, and no secret is stored that it could stand for";

const OTHER_NAME: &str =
    "is the mask of an answer, but what goes with it has changed: the secret must be given again";

const MOVED: &str = "is the mask of an answer, but the target's scheme, host or port has changed: the secret must be given again";

/// What a target that is replaced has, for the masks of a request.
#[derive(Clone, Copy)]
pub(super) struct Stored<'s> {
    pub(super) authentication: &'s AuthConfig,
    /// The request leads elsewhere, where the stored secret must not go.
    pub(super) moved: bool,
}

impl<'s> Stored<'s> {
    fn keep(self, same: bool, secret: &'s Secret) -> Kept<'s> {
        match (self.moved, same) {
            (true, _) => Err(MOVED),
            (false, false) => Err(OTHER_NAME),
            (false, true) => Ok(secret),
        }
    }

    fn password(self, asked: Option<&str>) -> Kept<'s> {
        match self.authentication {
            AuthConfig::Basic { username, password } => self.keep(asked == Some(username), password),
            _ => Err(NONE_STORED),
        }
    }

    fn token(self) -> Kept<'s> {
        match self.authentication {
            AuthConfig::Bearer { token } => self.keep(true, token),
            _ => Err(NONE_STORED),
        }
    }

    fn value(self, asked: Option<&str>) -> Kept<'s> {
        match self.authentication {
            AuthConfig::Header { name, value } => {
                self.keep(asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name)), value)
            }
            _ => Err(NONE_STORED),
        }
    }
}

/// Reads `authentication`. A masked secret, as answers show it, stands for the stored one of the same type, as long as
/// it goes to the same place under the same name.
pub(super) fn read_authentication(fields: &mut Fields<'_>, stored: Option<Stored<'_>>) -> Option<AuthConfig> {
    let mut auth = fields.object("authentication")?;
    let kind = auth.one_of("type", &AUTH_TYPES);
    let kind = auth.require("type", kind);
    let read = match kind {
        Some(AuthType::Basic) => {
            let username = text(&mut auth, "username");
            if username.as_ref().is_some_and(|name| name.contains(':')) {
                auth.error("username", "holds a colon, which basic authentication cannot carry");
            }
            let kept = stored.map_or(Err(NONE_STORED), |stored| stored.password(username.as_deref()));
            let password = secret(&mut auth, "password", kept);
            username.zip(password).map(|(username, password)| AuthConfig::Basic { username, password })
        }
        Some(AuthType::Bearer) => {
            let kept = stored.map_or(Err(NONE_STORED), Stored::token);
            secret(&mut auth, "token", kept).map(|token| AuthConfig::Bearer { token })
        }
        Some(AuthType::Header) => {
            let name = text(&mut auth, "name");
            if let Some(Err(message)) = name.as_deref().map(check_header_name) {
                auth.error("name", message);
            }
            let kept = stored.map_or(Err(NONE_STORED), |stored| stored.value(name.as_deref()));
            let value = secret(&mut auth, "value", kept);
            name.zip(value).map(|(name, value)| AuthConfig::Header { name, value })
        }
        None => return None,
    };
    auth.finish();
    read
}

fn check_header_name(name: &str) -> Result<(), String> {
    if axum::http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("is not a header's name".to_owned());
    }
    // Saying who we are in a way of its own is what this is for.
    if is_reserved_header(name) && !name.eq_ignore_ascii_case("authorization") {
        return Err("is a header that metricsd sets itself".to_owned());
    }
    Ok(())
}

fn text(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let text = fields.string(name);
    let text = fields.require(name, text)?;
    if text.is_empty() {
        fields.error(name, "is empty");
    } else if text.len() > MAX_TEXT {
        fields.error(name, format!("is longer than {MAX_TEXT} bytes"));
    } else if text.chars().any(char::is_control) {
        fields.error(name, "holds a control character");
    }
    Some(text)
}

fn secret(fields: &mut Fields<'_>, name: &'static str, kept: Kept<'_>) -> Option<Secret> {
    let text = text(fields, name)?;
    match kept {
        _ if text != MASK => Some(Secret::new(text)),
        Ok(kept) => Some(kept.clone()),
        Err(message) => {
            fields.error(name, message);
            None
        }
    }
}

/// As answers show it; beside the reader, so that both change together.
pub(super) fn masked(auth: &AuthConfig) -> BTreeMap<&'static str, &str> {
    match auth {
        AuthConfig::Basic { username, .. } => {
            [("type", "basic"), ("username", username.as_str()), ("password", MASK)].into()
        }
        AuthConfig::Bearer { .. } => [("type", "bearer"), ("token", MASK)].into(),
        AuthConfig::Header { name, .. } => {
            [("type", "header"), ("name", name.as_str()), ("value", MASK)].into()
        }
        // Not even the cipher text leaves.
        AuthConfig::Sealed { .. } => [("type", "sealed")].into(),
    }
}
