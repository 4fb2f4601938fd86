//! Files go in and come out again, through the real binary: every format, workers that are killed, connections that
//! break, and files that are not what they say.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Folder, Node, Start, eventually};
use tokio::process::Command;

const UPLOAD: &str = "/api/v1/metrics/upload";
const NOON: i64 = 1_750_500_000_000;

/// A process that keeps what the files hold: they are history, which the default of retention removes.
fn history(folder: &Folder) -> Start<'_> {
    Start::new(&folder.0).env("METRICSD_RETENTION_DEFAULT", "0s")
}

/// Rows of two metrics; their values are their numbers.
fn csv(rows: usize) -> String {
    let mut text = String::from("timestamp,metric_name,metric_type,value,host\n");
    for row in 0..rows {
        let time = NOON + (row / 10) as i64 * 1_000;
        text.push_str(&format!("{time},up_load,GAUGE,{row},h{}\n", row % 10));
    }
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post(node: &Node, query: &str, media_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = node.url(&format!("{UPLOAD}?{query}"));
    node.send(node.http().post(url).header("content-type", media_type).body(body)).await
}

/// The job when it is over.
async fn over(node: &Node, job: &Value) -> Value {
    let path = format!("/api/v1/metrics/jobs/{}", job["job_id"].as_str().unwrap());
    eventually("the job's end", 60, || async {
        let (status, job) = node.get(&path).await;
        assert_eq!(status, 200, "{job}");
        matches!(job["state"].as_str(), Some("done" | "dead" | "cancelled")).then_some(job)
    })
    .await
}

async fn taken(node: &Node, query: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Value {
    let (status, job) = post(node, query, media_type, body).await;
    assert_eq!(status, 202, "{job}");
    let job = over(node, &job).await;
    assert_eq!(job["state"], "done", "{job}");
    job
}

/// Lines of an export without its order.
async fn exported(node: &Node, selector: &str) -> Vec<String> {
    let request = node.http().get(node.url("/api/v1/metrics/export")).query(&[("match[]", selector)]);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn file(node: &Node, selector: &str, format: &str) -> Vec<u8> {
    let query = [("match[]", selector), ("format", format)];
    let answer = node.http().get(node.url("/api/v1/metrics/export")).query(&query).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

/// Number and sum of all samples of a metric.
async fn sums(node: &Node, name: &str) -> (usize, f64) {
    let lines = exported(node, name).await;
    let value = |line: &String| serde_json::from_str::<Value>(line).unwrap()["value"].as_f64().unwrap();
    (lines.len(), lines.iter().map(value).sum())
}

async fn metricsd(node: &Node, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metricsd"));
    command.args(args).args(["--url", &node.url("")]).env_clear();
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_goes_in_and_out_and_in_again() {
    let (first, second) = (Folder::new(), Folder::new());
    let (node, other) = (history(&first).start().await, history(&second).start().await);
    let rows = 3_000;
    let text = csv(rows);
    let job = taken(&node, "source_id=plant", "text/csv", text.clone()).await;
    assert_eq!(job["progress"]["stored"], rows, "{job}");
    assert_eq!((job["source_id"].as_str(), &job["progress"]["errors_total"]), (Some("plant"), &json!(0)));
    let sum = (rows * (rows - 1) / 2) as f64;
    assert_eq!(sums(&node, "up_load").await, (rows, sum));
    // It is a collection as any other, and has its event.
    let (_, jobs) = node.get("/api/v1/metrics/jobs?limit=10").await;
    assert_eq!(jobs[0]["collection_method"], "BATCH_UPLOAD", "{jobs}");
    let (status, one) =
        node.get(&format!("/api/v1/metrics/jobs/{}", jobs[0]["job_id"].as_str().unwrap())).await;
    assert_eq!((status, &one["job_id"]), (200, &jobs[0]["job_id"]));

    // The same file is the same job.
    let (status, again) = post(&node, "source_id=plant", "text/csv", text.clone()).await;
    assert_eq!((status, &again["job_id"], &again["duplicate"]), (200, &job["job_id"], &json!(true)));

    let lines = exported(&node, "up_load").await;
    for (format, media_type) in [
        ("csv", "text/csv"),
        ("ndjson", "application/x-ndjson"),
        ("openmetrics", "application/openmetrics-text"),
        ("parquet", "application/vnd.apache.parquet"),
    ] {
        let bytes = file(&node, "up_load", format).await;
        // Under another name of the metric's source only: each goes into a store of its own.
        let folder = Folder::new();
        let fresh = history(&folder).start().await;
        let job = taken(&fresh, "", media_type, bytes).await;
        assert_eq!(job["progress"]["stored"], rows, "{format}: {job}");
        assert_eq!(exported(&fresh, "up_load").await, lines, "{format}");
    }
    for (query, bytes) in [
        ("compression=gzip", gzip(text.as_bytes())),
        ("compression=zstd", zstd::encode_all(text.as_bytes(), 1).unwrap()),
        // Nobody says so, and it is seen all the same.
        ("source_id=seen", gzip(text.as_bytes())),
    ] {
        let job = taken(&other, query, "text/csv", bytes).await;
        assert_eq!(job["progress"]["stored"], rows, "{query}: {job}");
    }
    assert_eq!(sums(&other, "up_load").await, (rows, sum));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_nothing_and_nothing_is_twice() {
    let folder = Folder::new();
    let start = history(&folder);
    let mut node = start.start().await;
    let rows = 400_000;
    let (status, job) = post(&node, "", "text/csv", gzip(csv(rows).as_bytes())).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/api/v1/metrics/jobs/{}", job["job_id"].as_str().unwrap());
    let mut kills = 0;
    let mut seen = 0;
    for _ in 0..3 {
        // In the middle: it has moved on, and is not done.
        let before = seen;
        let job = eventually("progress", 60, || async {
            let (_, job) = node.get(&path).await;
            let parts = job["progress"]["parts"].as_u64().unwrap_or(0);
            (parts > before || job["state"] == "done").then_some(job)
        })
        .await;
        if job["state"] == "done" {
            break;
        }
        seen = job["progress"]["parts"].as_u64().unwrap();
        node.kill().await;
        kills += 1;
        node = start.start().await;
    }
    assert!(kills > 0, "it was done before it could be killed");
    let job = eventually("the job's end", 120, || async {
        let (_, job) = node.get(&path).await;
        (job["state"] == "done").then_some(job)
    })
    .await;
    assert_eq!((&job["progress"]["rows"], &job["progress"]["stored"]), (&json!(rows), &json!(rows)), "{job}");
    assert_eq!(sums(&node, "up_load").await, (rows, (rows * (rows - 1) / 2) as f64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_goes_on_where_it_was() {
    let folder = Folder::new();
    let node = history(&folder).start().await;
    let text = csv(2_000).into_bytes();
    let (status, begun) = post(&node, "resumable=true&format=csv", "application/octet-stream", "").await;
    assert_eq!((status, &begun["received"]), (201, &json!(0)), "{begun}");
    let id = begun["upload_id"].as_str().unwrap();
    let put = async |offset: usize, bytes: &[u8], complete: bool| {
        let url = node.url(&format!("{UPLOAD}/{id}?offset={offset}&complete={complete}"));
        node.send(node.http().put(url).body(bytes.to_vec())).await
    };
    let (status, far) = put(0, &text[..1_000], false).await;
    assert_eq!((status, &far["received"]), (200, &json!(1_000)), "{far}");
    // What is not where the file goes on is refused, and it is said where that is.
    let (status, problem) = put(500, &text[500..1_500], false).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("offset=1000"), "{problem}");
    let (status, far) = node.get(&format!("{UPLOAD}/{id}")).await;
    assert_eq!((status, &far["received"], &far["state"]), (200, &json!(1_000), &json!("receiving")));
    let (status, job) = put(1_000, &text[1_000..], true).await;
    assert_eq!(status, 202, "{job}");
    assert_eq!(over(&node, &job).await["progress"]["stored"], 2_000);

    // One that nobody wants any more.
    let (_, begun) = post(&node, "resumable=true&format=csv", "", "").await;
    let path = format!("/api/v1/metrics/jobs/{}", begun["upload_id"].as_str().unwrap());
    let (status, gone) = node.send(node.http().delete(node.url(&path))).await;
    assert_eq!((status, &gone["state"]), (200, &json!("cancelled")), "{gone}");
    let (status, uploads) = node.get("/api/v1/metrics/jobs?kind=upload&state=cancelled").await;
    assert_eq!((status, uploads.as_array().map(Vec::len)), (200, Some(1)), "{uploads}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_are_told_and_harm_no_other() {
    let folder = Folder::new();
    let node = history(&folder)
        .env("METRICSD_UPLOAD_MAX_BYTES", "1MiB")
        .env("METRICSD_UPLOAD_MAX_UNPACKED_BYTES", "100MiB")
        .start()
        .await;
    // Bad lines among good ones.
    let mut text = csv(100);
    text.insert_str(text.find('\n').unwrap() + 1, "1,up_load,GAUGE,x,h\n1,bad name \u{0},GAUGE,1,h\n");
    text.push_str("4102444800000,up_load,GAUGE,1,h\n");
    let job = taken(&node, "", "text/csv", text).await;
    assert_eq!(job["progress"]["stored"], 100, "{job}");
    let mut lines: Vec<u64> = job["progress"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["line"].as_u64().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [2, 3, 104], "{job}");

    let bomb = zstd::encode_all(vec![b'1'; 300 << 20].as_slice(), 1).unwrap();
    let dead: [(&str, &str, Vec<u8>, &str); 5] = [
        ("", "text/csv", b"%PDF-1.4 is no table".to_vec(), "column"),
        ("", "application/vnd.apache.parquet", csv(5).into_bytes(), "Parquet"),
        ("compression=gzip", "text/csv", b"no gzip".to_vec(), "whole"),
        ("compression=zstd", "application/x-ndjson", bomb, "unfolds"),
        ("", "application/openmetrics-text", b"a 1 1\n".to_vec(), "# EOF"),
    ];
    for (query, media_type, bytes, expected) in dead {
        let (status, job) = post(&node, query, media_type, bytes).await;
        assert_eq!(status, 202, "{job}");
        let job = over(&node, &job).await;
        assert_eq!(job["state"], "dead", "{job}");
        assert!(job["error"].as_str().unwrap().contains(expected), "{job}");
    }
    let refused = [
        ("", "image/png", vec![1], 415),
        ("format=xml", "text/csv", vec![1], 400),
        ("", "text/csv", vec![], 400),
        ("", "text/csv", vec![b'x'; 2 << 20], 413),
        ("sha256=abc", "text/csv", vec![1], 400),
    ];
    for (query, media_type, bytes, expected) in refused {
        let (status, problem) = post(&node, query, media_type, bytes).await;
        assert_eq!(status, expected, "{problem}");
    }
    let wrong_hash = format!("sha256={}", "0".repeat(64));
    assert_eq!(post(&node, &wrong_hash, "text/csv", csv(1)).await.0, 400);
    assert_eq!(node.get("/api/v1/metrics/jobs/nothing").await.0, 404);
    assert_eq!(sums(&node, "up_load").await, (100, 4_950.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_and_ends_of_series_go_in_and_out_and_in_again() {
    let folder = Folder::new();
    let node = history(&folder).start().await;
    let native = r#"{"schema":1,"count":4,"sum":2.5,"zero_threshold":0.001,"zero_count":1,"positive_spans":[[0,2]],"positive_buckets":[2,1]}"#;
    let text = format!(
        r#"{{"name":"took","timestamp":{NOON},"metric_type":"HISTOGRAM","histogram":{native},"help_text":"Time."}}
{{"name":"took","timestamp":{},"metric_type":"HISTOGRAM","value":null,"stale":true}}
{{"name":"old","timestamp":{NOON},"histogram":{{"buckets":{{"1":2}},"sum":1.5,"count":3}}}}
"#,
        NOON + 1_000
    );
    let job = taken(&node, "", "application/x-ndjson", text).await;
    assert_eq!(
        (&job["progress"]["stored"], &job["progress"]["errors_total"]),
        (&json!(6), &json!(0)),
        "{job}"
    );
    let all = "{__name__=~\"took|old_.*\"}";
    let lines = exported(&node, all).await;
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("\"positive_buckets\":[2.0,1.0]")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("\"stale\":true")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("\"le\":\"+Inf\"")), "{lines:?}");
    for (format, media_type) in [
        ("csv", "text/csv"),
        ("ndjson", "application/x-ndjson"),
        ("parquet", "application/vnd.apache.parquet"),
    ] {
        let bytes = file(&node, all, format).await;
        let folder = Folder::new();
        let fresh = history(&folder).start().await;
        taken(&fresh, "", media_type, bytes).await;
        assert_eq!(exported(&fresh, all).await, lines, "{format}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_of_files_may_be_bounded_in_age() {
    let folder = Folder::new();
    let node = history(&folder).env("METRICSD_UPLOAD_MAX_SAMPLE_AGE", "1h").start().await;
    let now = chrono::Utc::now().timestamp_millis();
    let text = format!("timestamp,metric_name,value\n{NOON},a,1\n{now},a,2\n");
    let job = taken(&node, "", "text/csv", text).await;
    assert_eq!(
        (&job["progress"]["stored"], &job["progress"]["errors_total"]),
        (&json!(1), &json!(1)),
        "{job}"
    );
    assert_eq!(job["progress"]["errors"][0]["reason"], "too_old", "{job}");
    assert_eq!(sums(&node, "a").await, (1, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_sends_files_and_gets_them_back() {
    let folder = Folder::new();
    let node = history(&folder).start().await;
    let path = folder.0.join("week.csv.gz");
    std::fs::write(&path, gzip(csv(5_000).as_bytes())).unwrap();
    let done = metricsd(&node, &["push", path.to_str().unwrap(), "--source-id", "plant"]).await;
    let text = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&done.stderr));
    assert!(text.contains("stored  5,000") || text.contains("stored  5000"), "{text}");
    let again = metricsd(&node, &["push", path.to_str().unwrap(), "--source-id", "plant"]).await;
    assert!(String::from_utf8_lossy(&again.stdout).contains("duplicate"));

    let bad = folder.0.join("bad.ndjson");
    std::fs::write(&bad, "{\"name\":\"good\",\"value\":1}\nnonsense\n").unwrap();
    assert_eq!(metricsd(&node, &["push", bad.to_str().unwrap()]).await.status.code(), Some(4));

    let out = folder.0.join("out.parquet");
    let done = metricsd(&node, &["export", "up_load", "--out", out.to_str().unwrap()]).await;
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(std::fs::read(&out).unwrap().starts_with(b"PAR1"));
    outside_tools_read(&out, 5_000, 12_497_500.0).await;
}

/// DuckDB and Polars read it as it is, where Python and its packages can be had.
async fn outside_tools_read(path: &Path, rows: u64, sum: f64) {
    const ASK: &str = "import sys, duckdb, polars
path = sys.argv[1]
print(*duckdb.sql(f\"select count(*), sum(value), count(distinct labels['host']) from '{path}'\").fetchall()[0])
frame = polars.read_parquet(path)
print(frame.height, frame['value'].sum(), frame['timestamp'].dtype)";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/with_python.sh");
    let asked = Command::new(script).args(["files", "duckdb polars", "-c", ASK]).arg(path).output();
    // The first time they are installed.
    let asked = tokio::time::timeout(Duration::from_secs(300), asked).await.unwrap().unwrap();
    if asked.status.code() == Some(77) {
        eprintln!("not read by DuckDB and Polars: {}", String::from_utf8_lossy(&asked.stderr));
        return;
    }
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.first(), Some(&format!("{rows} {sum:.1} 10").as_str()), "{text}");
    assert!(
        lines.get(1).is_some_and(|line| line.starts_with(&format!("{rows} {sum:.1} Datetime"))),
        "{text}"
    );
}
