//! `/`: what this is and where to go on; and the OpenAPI document.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::AppState;
use crate::router::routes;

/// The OpenAPI document, written by hand and checked against the routes by a test.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /`
pub(crate) async fn home(State(shared): AppState) -> String {
    use std::fmt::Write;
    let api = &shared.api;
    let mut text =
        format!("metricsd {}\n\nMetrics collection service. It answers:\n\n", env!("CARGO_PKG_VERSION"));
    for route in routes(api.roles) {
        let _ = writeln!(text, "  {:<22} {}", route.methods.join(" "), route.path);
    }
    let address = &api.settings.public_address;
    if api.roles.api {
        let _ = write!(
            text,
            "\nTry:\n\n  curl -sS http://{address}/api/v1/metrics/targets\n  \
             curl -sS -G http://{address}/api/v1/metrics/query --data-urlencode 'query=up'\n"
        );
    }
    text
}

/// `GET /api/v1/openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::Roles;

    fn document() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let routed: BTreeSet<(String, String)> = routes(Roles { api: true, ingest: true })
            .iter()
            .flat_map(|route| {
                // The rest of a path is a parameter like any other to the document.
                let path = route.path.replace("{*", "{");
                route.methods.iter().map(move |method| (path.clone(), method.to_lowercase()))
            })
            .collect();
        let methods = ["get", "put", "post", "patch", "delete"];
        let documented: BTreeSet<(String, String)> = document()["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|key| (path.clone(), key.clone())))
            .filter(|(_, key)| methods.contains(&key.as_str()))
            .collect();
        assert_eq!(routed, documented);
    }

    /// Every `$ref` of the document leads somewhere.
    #[test]
    fn the_document_refers_to_nothing_that_is_missing() {
        fn check(value: &Value, document: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        let pointer = reference.trim_start_matches('#');
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    map.values().for_each(|value| check(value, document));
                }
                Value::Array(list) => list.iter().for_each(|value| check(value, document)),
                _ => {}
            }
        }
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        check(&document, &document);
    }
}
