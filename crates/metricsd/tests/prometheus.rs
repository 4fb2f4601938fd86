//! A real Prometheus scrapes a real exporter, itself and a shop, and sends everything on. metricsd is killed in between.
//! In the end both must know the same and answer the same, to people, to promtool and to Grafana.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::prometheus::{Prometheus, Server, entries, promtool, same, shop};
use support::services::address;
use support::{Folder, Node, Start, eventually};

const JOBS: [&str; 3] = ["node", "prometheus", "shop"];

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_and_metricsd_answer_alike_what_prometheus_has_sent() {
    let folder = Folder::new();
    let start = Start::new(&folder.0);
    let mut node = start.start().await;
    let exporter = address("METRICSD_TEST_NODE_EXPORTER_URL");
    let exporter = exporter.trim_start_matches("http://").trim_end_matches("/metrics");
    let shop = shop().await;
    let jobs = [("node", exporter), ("shop", shop.as_str())];
    let prometheus = Prometheus::start(&folder.0, &node.url("/api/v1/write"), &jobs).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    node.kill().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    node = start.start().await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    let pair = Pair::of(&node, &prometheus);
    pair.families_are_known().await;
    prometheus.stop_scraping().await;
    everything_is_sent(&prometheus).await;

    let window = pair.everything_is_there_once().await;
    assert!(prometheus.own_metric("prometheus_remote_storage_samples_retried_total").await > 0.0);
    pair.queries_agree(&window).await;
    pair.promtool_agrees(&window).await;
    pair.grafana_is_served(&window).await;
    let ended = pair.ours.post("/api/v1/query", &[("query", "{__name__=~\".+\"}")]).await;
    assert_eq!(ended["result"], json!([]), "the end of every series has come over");
}

/// Waits until the queue is empty. Its gauges lag behind, so it must be empty twice.
async fn everything_is_sent(prometheus: &Prometheus) {
    let empty = async || {
        let pending = prometheus.own_metric("prometheus_remote_storage_samples_pending").await;
        let newest = prometheus.own_metric("prometheus_remote_storage_highest_timestamp_in_seconds").await;
        let sent =
            prometheus.own_metric("prometheus_remote_storage_queue_highest_sent_timestamp_seconds").await;
        pending == 0.0 && sent >= newest
    };
    eventually("an empty queue", 60, async || {
        let was_empty = empty().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        (was_empty && empty().await).then_some(())
    })
    .await;
    for kind in ["samples", "histograms", "exemplars"] {
        let failed = prometheus.own_metric(&format!("prometheus_remote_storage_{kind}_failed_total")).await;
        assert_eq!(failed, 0.0, "{kind} that metricsd has refused for good");
    }
}

/// Which times are asked for, as the API takes them. No sample lies at the left end of a range of whole seconds:
/// Prometheus 2 counts such a sample in, Prometheus 3 and metricsd do not.
struct Window {
    start: String,
    end: String,
    /// Covers everything that was scraped.
    whole: String,
}

/// Both servers.
struct Pair {
    ours: Server,
    theirs: Server,
}

impl Pair {
    fn of(node: &Node, prometheus: &Prometheus) -> Self {
        let server = |base: String| Server { base, client: support::client() };
        Self { ours: server(format!("http://{}", node.address)), theirs: server(prometheus.api.base.clone()) }
    }

    /// While Prometheus scrapes it knows the families, and has sent them.
    async fn families_are_known(&self) {
        let names = ["node_cpu_seconds_total", "shop_temperature_celsius", "prometheus_build_info"];
        for name in names {
            let theirs = self.theirs.get("/api/v1/metadata", &[("metric", name)]).await;
            assert_eq!(theirs[name].as_array().unwrap().len(), 1, "{theirs}");
            eventually("the same metadata", 10, async || {
                let ours = self.ours.get("/api/v1/metadata", &[("metric", name)]).await;
                (ours == theirs).then_some(())
            })
            .await;
        }
    }

    /// Compares every sample of every series, and thereby that none is lost and none is there twice.
    async fn everything_is_there_once(&self) -> Window {
        let window = self.window().await;
        for job in JOBS {
            let raw = format!("{{job={job:?}}}[{}]", window.whole);
            let count = self.instant(&raw, &window.end).await;
            assert!(count > 5, "{job}: {count} series");
        }
        for name in
            ["node_cpu_seconds_total", "node_load1", "up", "shop_orders_total", "go_gc_duration_seconds"]
        {
            self.instant(&format!("sum(count_over_time({name}[{}]))", window.whole), &window.end).await;
            self.instant(&format!("sum by (job) (count_over_time({name}[{}]))", window.whole), &window.end)
                .await;
        }
        window
    }

    /// Ends some seconds before the last scrape, at a fraction of a second far from those of all scrapes.
    async fn window(&self) -> Window {
        let scrapes = self.theirs.post("/api/v1/query", &[("query", "up[2m]")]).await;
        let series = scrapes["result"].as_array().unwrap();
        let times = |entry: &Value| -> Vec<i64> {
            let values = entry["values"].as_array().unwrap();
            values.iter().map(|value| (value[0].as_f64().unwrap() * 1e3).round() as i64).collect()
        };
        let times: Vec<Vec<i64>> = series.iter().map(times).collect();
        assert!(times.len() == JOBS.len() && times.iter().all(|times| times.len() > 15), "{times:?}");
        // Sub-queries are evaluated at whole and half seconds, which must not lie at an end either.
        let distance = |fraction: i64| {
            let apart = |time: i64| {
                let apart = (time - fraction).rem_euclid(1000);
                apart.min(1000 - apart)
            };
            times.iter().flatten().chain(&[0, 500]).map(|time| apart(*time)).min().unwrap()
        };
        let fraction = (0..1000).max_by_key(|fraction| distance(*fraction)).unwrap();
        assert!(distance(fraction) > 5, "scrapes lie everywhere in a second: {times:?}");
        let last = times.iter().map(|times| *times.last().unwrap()).min().unwrap();
        let end = last / 1000 * 1000 + fraction - 2000;
        let seconds = |millis: i64| format!("{}.{:03}", millis / 1000, millis % 1000);
        Window { start: seconds(end - 14_000), end: seconds(end), whole: "90s".to_owned() }
    }

    /// Compares an instant query on both servers; gives the number of entries.
    async fn instant(&self, query: &str, time: &str) -> usize {
        self.agree("/api/v1/query", &[("query", query), ("time", time)]).await
    }

    async fn range(&self, query: &str, window: &Window) -> usize {
        let (start, end) = (window.start.as_str(), window.end.as_str());
        let form = [("query", query), ("start", start), ("end", end), ("step", "1")];
        self.agree("/api/v1/query_range", &form).await
    }

    async fn agree(&self, path: &str, form: &[(&str, &str)]) -> usize {
        let (ours, theirs) = tokio::join!(self.ours.post(path, form), self.theirs.post(path, form));
        assert_eq!(ours["resultType"], theirs["resultType"], "{form:?}");
        let (ours, theirs) = (entries(&ours), entries(&theirs));
        for key in ours.keys().chain(theirs.keys()) {
            let (ours, theirs) = (ours.get(key), theirs.get(key));
            let alike = ours.zip(theirs).is_some_and(|(ours, theirs)| same(ours, theirs));
            assert!(alike, "{form:?}, {key}:\nmetricsd   {ours:?}\nPrometheus {theirs:?}");
        }
        ours.len()
    }

    async fn queries_agree(&self, window: &Window) {
        for query in QUERIES {
            let entries = self.instant(query, &window.end).await;
            let points = self.range(query, window).await;
            assert!(entries > 0 && points > 0, "{query} is empty on both servers");
        }
        for query in EMPTY_QUERIES {
            assert_eq!(
                self.instant(query, &window.end).await + self.range(query, window).await,
                0,
                "{query}"
            );
        }
    }

    async fn promtool_agrees(&self, window: &Window) {
        let (at, start, end) = (
            format!("--time={}", window.end),
            format!("--start={}", window.start),
            format!("--end={}", window.end),
        );
        let wait = "shop_wait_seconds_bucket";
        let commands: [&[&str]; 6] = [
            &["instant", &at, "URL", "node_cpu_seconds_total"],
            &["instant", &at, "URL", "prometheus_http_request_duration_seconds{handler=\"/metrics\"}"],
            &["range", &start, &end, "--step=2s", "URL", "rate(shop_orders_total[5s])"],
            &["series", "--match={__name__=~\"node_load.*\"}", "--match", wait, &start, &end, "URL"],
            &["labels", "URL", "job"],
            &["labels", "URL", "__name__"],
        ];
        for command in commands {
            let at =
                |base: &str| -> Vec<_> { command.iter().map(|part| part.replace("URL", base)).collect() };
            let (ours, theirs) = (at(&self.ours.base), at(&self.theirs.base));
            let [ours, theirs] = [&ours, &theirs].map(|command| command.iter().map(String::as_str).collect());
            let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours, theirs);
            let (ours, theirs) = tokio::join!(promtool(&ours), promtool(&theirs));
            assert!(!ours.is_empty());
            assert_eq!(ours, theirs, "promtool query {command:?}");
        }
    }

    /// What Grafana's data source for Prometheus asks: the button that tests it, the query editor, panels, variables,
    /// exemplars, and the list of alerts.
    async fn grafana_is_served(&self, window: &Window) {
        let build = self.ours.get("/api/v1/status/buildinfo", &[]).await;
        let version: Vec<&str> = build["version"].as_str().unwrap().split('.').collect();
        assert!(version.len() >= 3 && version[0].parse::<u32>().is_ok_and(|major| major >= 3), "{build}");
        let test = self.ours.post("/api/v1/query", &[("query", "1+1"), ("time", "4")]).await;
        assert_eq!(test, json!({"resultType": "scalar", "result": [4, "2"]}));
        let times = [("start", window.start.as_str()), ("end", window.end.as_str())];
        let with = |more: &[(&'static str, &'static str)]| [&times[..], more].concat();
        let both = async |path: &str, query: Vec<(&str, &str)>| {
            let (ours, posted) = (self.ours.get(path, &query).await, self.theirs.get(path, &query).await);
            assert_eq!(ours, posted, "{path} {query:?}");
            assert!(ours.as_array().is_some_and(|list| !list.is_empty()), "{path} {query:?}: {ours}");
        };
        both("/api/v1/labels", with(&[])).await;
        both("/api/v1/labels", with(&[("match[]", "node_cpu_seconds_total{mode=\"idle\"}")])).await;
        both("/api/v1/label/__name__/values", with(&[])).await;
        both("/api/v1/label/mode/values", with(&[("match[]", "node_cpu_seconds_total")])).await;
        both("/api/v1/query_exemplars", with(&[("query", "rate(shop_orders_total[5s])")])).await;
        for path in ["/api/v1/labels", "/api/v1/series", "/api/v1/query_exemplars"] {
            let form = with(&[("match[]", "{__name__=~\"shop_.*\"}"), ("query", "shop_wait_seconds_bucket")]);
            let ours = sorted(self.ours.post(path, &form).await);
            // Prometheus leaves the order of series open.
            assert_eq!(ours, sorted(self.theirs.post(path, &form).await), "{path} {form:?}");
            assert!(!ours.is_empty(), "{path}");
        }
        self.panels_are_served(window).await;
        let families = self.ours.get("/api/v1/metadata", &[("limit_per_metric", "1")]).await;
        let family = &families["node_cpu_seconds_total"][0];
        assert!(
            family["type"] == "counter" && family["help"].is_string() && family["unit"] == "",
            "{family}"
        );
        assert_eq!(self.ours.get("/api/v1/rules", &[]).await, json!({"groups": []}));
    }

    /// An instant and a range as panels ask for them, with the interval that Grafana puts in for its variables.
    async fn panels_are_served(&self, window: &Window) {
        let query = "sum by (mode) (rate(node_cpu_seconds_total{mode=~\"idle|user\"}[4s]))";
        let form = [("query", query), ("time", window.end.as_str())];
        assert_eq!(self.agree("/api/v1/query", &form).await, 2);
        let data = self.ours.post("/api/v1/query", &form).await;
        assert_eq!(data["resultType"], "vector");
        let form = [("query", query), ("start", &window.start), ("end", &window.end), ("step", "2")];
        assert_eq!(self.agree("/api/v1/query_range", &form).await, 2);
        let data = self.ours.post("/api/v1/query_range", &form).await;
        assert_eq!(data["resultType"], "matrix");
        assert!(data["result"][0]["values"].as_array().is_some_and(|points| points.len() == 8), "{data}");
    }
}

/// A list's entries, in order of their text.
fn sorted(list: Value) -> Vec<String> {
    let mut entries: Vec<String> = list.as_array().unwrap().iter().map(Value::to_string).collect();
    entries.sort();
    entries
}

/// Each is asked for at one time and over a range, and has an answer. Within a bucket of a native histogram Prometheus 2
/// interpolates on a line, Prometheus 3 and metricsd on an exponential curve: only what lies at bounds can be compared.
const QUERIES: &[&str] = &[
    "{job=\"node\"}",
    "prometheus_http_request_duration_seconds",
    "sum_over_time(count({job=\"node\"})[10s:1s])",
    "rate(node_cpu_seconds_total[10s])",
    "sum by (mode) (irate(node_cpu_seconds_total[5s]))",
    "increase(shop_orders_total[8s])",
    "resets(shop_orders_total[15s]) + changes(shop_orders_total[15s])",
    "histogram_quantile(0.9, sum by (le, handler) (rate(prometheus_http_request_duration_seconds_bucket[10s])))",
    "histogram_quantile(0.5, rate(shop_wait_seconds_bucket[6s]))",
    "topk(3, node_cpu_seconds_total)",
    "bottomk by (job) (2, scrape_duration_seconds)",
    "node_filesystem_avail_bytes / on (device, mountpoint) node_filesystem_size_bytes",
    "node_cpu_seconds_total * on (instance) group_left (nodename) node_uname_info",
    "max_over_time(rate(node_context_switches_total[4s])[8s:500ms])",
    "avg_over_time(shop_temperature_celsius[6s] offset 1s)",
    "absent(nothing_like_this{kind=\"book\"})",
    "label_replace(up, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    "quantile_over_time(0.9, node_memory_MemFree_bytes[10s])",
    "stddev by (mode) (node_cpu_seconds_total)",
    "predict_linear(node_memory_MemFree_bytes[10s], 60)",
    "sum by (job) (up) or vector(1)",
    "count_values(\"value\", up)",
    "up == bool 1 unless on (job) shop_temperature_celsius",
    "time() - node_boot_time_seconds",
    "scalar(node_load1) > bool 0",
    "rate(prometheus_http_request_duration_seconds{handler=\"/metrics\"}[6s])",
    "histogram_stddev(rate(prometheus_http_request_duration_seconds{handler=\"/metrics\"}[6s]))",
    "histogram_avg(sum(prometheus_http_request_duration_seconds))",
    "histogram_fraction(0, 0.00390625, prometheus_http_request_duration_seconds)",
    "sum(prometheus_http_request_duration_seconds{handler=\"/metrics\"} offset 2s)",
];

/// These have none.
const EMPTY_QUERIES: &[&str] =
    &["absent_over_time(node_load1[5s])", "node_load1 > 1e9", "up{job=\"nobody\"}"];
