//! Answers in part: a store of which something is away says so, and what is missing stands in the answer.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::Service;
use metricsd_model::{FamilyMetadata, LabelSet, Matcher, Millis, Series};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{
    ErrorKind, IndexStatistics, LatestMetric, PortError, SampleSource, SelectedSeries, Selection,
    SeriesExemplars, partial,
};
use metricsd_promql::{Engine, EngineOptions};
use serde_json::{Value, json};

/// What there is of a store whose other half is away.
struct Half(Arc<MemoryStore>);

const MISSING: &str = "shard 2 (db-2/metricsd) cannot be reached; its series are missing";
const AWAY: &str = "shard 2 (db-2/metricsd) cannot be reached";

impl Half {
    fn there(&self) -> Result<&MemoryStore, PortError> {
        match partial::leave_out(MISSING) {
            true => Ok(&self.0),
            false => Err(PortError::new(ErrorKind::Unavailable, AWAY)
                .for_askers()
                .caused_by("postgres://me:hunter2@db-2 refuses")),
        }
    }
}

#[async_trait]
impl SampleSource for Half {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        self.there()?.select(selection).await
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        self.there()?.series(matchers, limit).await
    }

    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError> {
        self.there()?.label_sets(matchers, limit).await
    }

    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        self.there()?.label_names(matchers, limit).await
    }

    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        self.there()?.label_values(name, matchers, limit).await
    }

    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        self.there()?.exemplars(selection).await
    }

    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        self.there()?.families(family, limit).await
    }

    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        self.there()?.index_statistics(top).await
    }

    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        self.there()?.source_statistics(source, top).await
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        self.there()?.latest(target_id, since).await
    }
}

async fn half() -> Service {
    let store = Arc::new(MemoryStore::new());
    let half = Arc::new(Half(store.clone()));
    let service = Service::over(store.clone(), store, metricsd_ingest::Limits::default(), |api| {
        api.source = half.clone();
        api.engine = Arc::new(Engine::new(half.clone(), EngineOptions::default()));
    });
    let body = json!([{"name": "there", "value": 3, "labels": {"shop": "a"}}]);
    assert_eq!(service.call("POST", "/api/v1/metrics/custom", &body).await.json()["accepted"], 1);
    service
}

const QUESTIONS: [&str; 5] = [
    "/api/v1/query?query=there",
    "/api/v1/query_range?query=there&start=1&end=2&step=1",
    "/api/v1/series?match[]=there",
    "/api/v1/labels?match[]=there",
    "/api/v1/label/shop/values?match[]=there",
];

fn with(uri: &str, parameter: &str) -> String {
    format!("{uri}&{parameter}")
}

#[tokio::test]
async fn without_the_parameter_there_is_no_answer_and_the_shard_is_named() {
    let service = half().await;
    for uri in QUESTIONS {
        for uri in [uri.to_owned(), with(uri, "partial=false"), with(uri, "allow_partial=0")] {
            let answer = service.get(&uri).await;
            assert_eq!(answer.status, 503, "{uri}: {}", answer.text());
            let expected = json!({"status": "error", "errorType": "unavailable", "error": AWAY});
            assert_eq!(answer.json(), expected, "{uri}");
        }
    }
    let problem = service.get("/api/v1/metrics/query?query=there").await.problem(503);
    assert_eq!(
        (&problem["type"], &problem["detail"]),
        (&json!("urn:metricsd:problem:unavailable"), &json!(AWAY))
    );
}

#[tokio::test]
async fn with_it_the_answer_says_what_is_missing() {
    let service = half().await;
    for (uri, parameter) in QUESTIONS
        .iter()
        .flat_map(|uri| ["partial=true", "partial=1", "allow_partial=true"].map(|parameter| (uri, parameter)))
    {
        let answer = service.get(&with(uri, parameter)).await;
        assert_eq!(answer.status, 200, "{uri} {parameter}: {}", answer.text());
        assert_eq!(answer.json()["warnings"], json!([MISSING]), "{uri} {parameter}");
    }
    let values = service.get("/api/v1/label/shop/values?partial=true").await.json();
    assert_eq!(values["data"], json!(["a"]));
    let own: Value = service.get("/api/v1/metrics/query?query=there&partial=true").await.json();
    assert_eq!((&own["result"][0]["value"][1], &own["warnings"]), (&json!("3"), &json!([MISSING])));
    let range = "/api/v1/metrics/query?query=there&start=1&end=2&step=1&allow_partial=true";
    assert_eq!(service.get(range).await.json()["warnings"], json!([MISSING]));
}

#[tokio::test]
async fn a_value_that_is_none_is_refused() {
    let service = half().await;
    for uri in QUESTIONS {
        let answer = service.get(&with(uri, "partial=maybe")).await;
        assert_eq!(answer.status, 400, "{uri}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(error, "invalid parameter \"partial\": expected true or false, not \"maybe\"", "{uri}");
    }
    let problem = service.get("/api/v1/metrics/query?query=there&partial=2").await.problem(400);
    assert_eq!(problem["errors"][0]["field"], "partial");
}
