//! Times the engine alone: series that stand ready in memory, twelve questions that people ask.
//!
//! `cargo run --release -p metricsd-promql --example evaluate -- [series] [runs]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metricsd_model::{LabelSet, Matcher, MetricType, Millis, Series};
use metricsd_ports::{
    IndexStatistics, LatestMetric, PortError, SampleSource, SelectedSeries, Selection, SeriesExemplars,
};
use metricsd_promql::{Engine, EngineOptions, QueryEngine, QueryOptions};

const STEP: Millis = 15_000;
const SAMPLES: i64 = 100;

const QUESTIONS: &[&str] = &[
    "sum by (zone) (rate(requests_total[5m]))",
    "rate(requests_total[5m])",
    "topk(10, rate(requests_total[5m]))",
    "sum(requests_total)",
    "avg by (zone) (requests_total)",
    "quantile by (zone) (0.9, requests_total)",
    "histogram_quantile(0.99, sum by (le, zone) (rate(latency_bucket[5m])))",
    "requests_total / on (pod, zone) requests_total",
    "max_over_time(sum by (zone) (rate(requests_total[1m]))[10m:30s])",
    "count by (zone) (requests_total > 100)",
    "sum without (pod) (increase(requests_total[10m]))",
    "requests_total{pod=\"pod-17\"}",
];

struct Ready(Vec<SelectedSeries>);

#[async_trait]
impl SampleSource for Ready {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        let wanted = self
            .0
            .iter()
            .filter(|series| selection.matchers.iter().all(|m| m.matches_labels(&series.labels)));
        let cut = |series: &SelectedSeries| {
            let from = series.timestamps.partition_point(|at| *at < selection.start);
            let to = series.timestamps.partition_point(|at| *at <= selection.end);
            SelectedSeries {
                labels: series.labels.clone(),
                metric_type: series.metric_type,
                timestamps: series.timestamps[from..to].to_vec(),
                values: series.values[from..to].to_vec(),
                histograms: Vec::new(),
            }
        };
        Ok(wanted.map(cut).collect())
    }

    async fn series(&self, _: &[Matcher], _: usize) -> Result<Vec<Arc<Series>>, PortError> {
        Ok(Vec::new())
    }

    async fn label_sets(&self, _: &[Matcher], _: usize) -> Result<Vec<LabelSet>, PortError> {
        Ok(Vec::new())
    }

    async fn label_names(&self, _: &[Matcher], _: usize) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn label_values(&self, _: &str, _: &[Matcher], _: usize) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn exemplars(&self, _: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        Ok(Vec::new())
    }

    async fn families(
        &self,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<metricsd_model::FamilyMetadata>, PortError> {
        Ok(Vec::new())
    }

    async fn index_statistics(&self, _: usize) -> Result<IndexStatistics, PortError> {
        Ok(IndexStatistics::default())
    }

    async fn source_statistics(&self, _: &str, _: usize) -> Result<IndexStatistics, PortError> {
        Ok(IndexStatistics::default())
    }

    async fn latest(&self, _: &str, _: Millis) -> Result<Vec<LatestMetric>, PortError> {
        Ok(Vec::new())
    }
}

fn series(pairs: &[(&str, &str)], slope: f64) -> SelectedSeries {
    SelectedSeries {
        labels: LabelSet::new(pairs.iter().copied()).expect("labels without repeats"),
        metric_type: MetricType::Counter,
        timestamps: (0..SAMPLES).map(|sample| sample * STEP).collect(),
        values: (0..SAMPLES).map(|sample| sample as f64 * slope).collect(),
        histograms: Vec::new(),
    }
}

fn data(count: usize) -> Ready {
    let mut all = Vec::new();
    for number in 0..count {
        let (pod, zone) = (format!("pod-{number}"), format!("zone-{}", number % 7));
        let labels = [
            ("__name__", "requests_total"),
            ("job", "api"),
            ("pod", &*pod),
            ("zone", &*zone),
            ("env", "prod"),
        ];
        all.push(series(&labels, 1.0 + (number % 13) as f64));
    }
    for number in 0..count / 10 {
        let (pod, zone) = (format!("pod-{number}"), format!("zone-{}", number % 7));
        for (place, le) in ["0.1", "0.5", "1", "5", "+Inf"].into_iter().enumerate() {
            let labels = [("__name__", "latency_bucket"), ("pod", &*pod), ("zone", &*zone), ("le", le)];
            all.push(series(&labels, (place + 1) as f64));
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ready(all)
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let count = args.next().and_then(|text| text.parse().ok()).unwrap_or(22_000);
    let runs = args.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let engine = Engine::new(Arc::new(data(count)), EngineOptions::default());
    let end = (SAMPLES - 1) * STEP;
    println!(
        "{count} series, 41 steps of 15 s; median of {runs} runs, reading included, then evaluation alone"
    );
    for question in QUESTIONS {
        let mut times = Vec::new();
        for _ in 0..runs {
            let begun = Instant::now();
            let step = Duration::from_millis(STEP as u64);
            let answer = engine.range(question, end - 40 * STEP, end, step, QueryOptions::default()).await;
            let answer = answer.expect("an answer");
            times.push((begun.elapsed(), answer.stats.evaluating - answer.stats.reading));
        }
        times.sort_unstable();
        let (whole, alone) = times[times.len() / 2];
        println!("{:8.1} ms {:8.1} ms  {question}", whole.as_secs_f64() * 1e3, alone.as_secs_f64() * 1e3);
    }
}
