//! `rules`, `alerts`, `alertmanagers`: there are no rules in metricsd, and the answers say so in the expected shape.

use axum::response::Response;
use serde::Serialize;

use super::answer::success_value;
use super::error::ApiError;
use super::form::Form;

#[derive(Serialize)]
struct Rules {
    groups: [(); 0],
}

#[derive(Serialize)]
struct Alerts {
    alerts: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alertmanagers {
    active_alertmanagers: [(); 0],
    dropped_alertmanagers: [(); 0],
}

/// `/api/v1/rules`
pub(super) async fn rules(form: Form) -> Result<Response, ApiError> {
    match form.first("type").to_lowercase().as_str() {
        "" | "alert" | "record" => Ok(success_value(&Rules { groups: [] })),
        other => Err(ApiError::invalid("type", format!("not supported value {other:?}"))),
    }
}

/// `/api/v1/alerts`
pub(super) async fn alerts() -> Response {
    success_value(&Alerts { alerts: [] })
}

/// `/api/v1/alertmanagers`
pub(super) async fn alertmanagers() -> Response {
    success_value(&Alertmanagers { active_alertmanagers: [], dropped_alertmanagers: [] })
}
