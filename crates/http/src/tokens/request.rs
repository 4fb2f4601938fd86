//! Reads what is asked of a new token.

use metricsd_model::{Millis, parse_duration};
use metricsd_ports::access::MAX_TOKEN_NAME;
use metricsd_ports::{AccessToken, Quota, Right, Rights};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Problem;
use crate::fields::{Errors, Fields};
use crate::targets::check_source_id;

/// A token as it is asked for; its id and digest are still to be made.
pub(super) fn read(map: Map<String, Value>, now: Millis) -> Result<AccessToken, Problem> {
    let mut errors = Errors::default();
    let mut fields = Fields::new("", map, &mut errors);
    let name = name(&mut fields);
    let rights = rights(&mut fields);
    let source_id = fields.string("source_id");
    if let Some(Err(message)) = source_id.as_deref().map(check_source_id) {
        fields.error("source_id", message);
    }
    let quota = quota(&mut fields);
    let expires_at = expiry(&mut fields, now);
    fields.finish();
    let token = name.zip(rights).map(|(name, rights)| AccessToken {
        id: Uuid::nil(),
        name,
        digest: [0; 32],
        rights,
        source_id,
        quota,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    });
    errors.into_result(token)
}

fn name(fields: &mut Fields<'_>) -> Option<String> {
    let name = fields.string("name");
    let name = fields.require("name", name)?;
    let shown = name.trim();
    if shown.is_empty() || shown.chars().count() > MAX_TOKEN_NAME || shown.chars().any(char::is_control) {
        fields.error("name", format!("must be 1 to {MAX_TOKEN_NAME} characters, without control characters"));
        return None;
    }
    Some(shown.to_owned())
}

fn rights(fields: &mut Fields<'_>) -> Option<Rights> {
    let list = fields.list("rights");
    let list = fields.require("rights", list)?;
    let rights: Option<Vec<Right>> =
        list.iter().map(|right| right.as_str().and_then(Right::from_name)).collect();
    match rights {
        Some(rights) if !rights.is_empty() => Some(Rights::new(rights)),
        _ => {
            fields.error("rights", "expected a list of at least one of push, read, manage");
            None
        }
    }
}

fn quota(fields: &mut Fields<'_>) -> Quota {
    let Some(mut quota) = fields.object("quota") else { return Quota::default() };
    let read = Quota {
        samples_per_second: positive(&mut quota, "samples_per_second"),
        active_series: positive(&mut quota, "active_series"),
        body_bytes_per_second: positive(&mut quota, "body_bytes_per_second"),
    };
    quota.finish();
    read
}

fn positive(fields: &mut Fields<'_>, name: &'static str) -> Option<u64> {
    let value = fields.take(name)?;
    // Larger numbers are no bound, and not all databases keep them.
    let number = value.as_u64().filter(|number| (1..=1 << 53).contains(number));
    if number.is_none() {
        fields.error(name, "expected a whole number from 1; leave it out for no bound");
    }
    number
}

fn expiry(fields: &mut Fields<'_>, now: Millis) -> Option<Millis> {
    let (at, within) = (fields.string("expires_at"), fields.string("expires_in"));
    if at.is_some() && within.is_some() {
        fields.error("expires_in", "expected either this or expires_at, not both");
        return None;
    }
    let at = at.map(|text| match chrono::DateTime::parse_from_rfc3339(&text) {
        Ok(at) => Ok(at.timestamp_millis()),
        Err(_) => Err(("expires_at", "expected a time such as 2027-01-31T00:00:00Z".to_owned())),
    });
    let within = within.map(|text| match parse_duration(&text) {
        Ok(length) => Ok(now.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))),
        Err(error) => Err(("expires_in", error.to_string())),
    });
    match at.map(|at| (at, "expires_at")).or(within.map(|within| (within, "expires_in")))? {
        (Ok(at), _) if at > now => Some(at),
        (Ok(_), field) => {
            fields.error(field, "must be in the future");
            None
        }
        (Err((field, message)), _) => {
            fields.error(field, message);
            None
        }
    }
}
