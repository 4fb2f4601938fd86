//! metricsd over several databases: the same answers as over one, and what becomes of them when one is away.

mod support;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::Row;
use support::page::PageTarget;
use support::services::Database;
use support::{Folder, Node, Start, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The line to a server, which can be cut and mended.
struct Line {
    port: u16,
    /// `None` while it is cut.
    open: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl Line {
    /// A line to the server of a URL.
    async fn to(url: &str) -> Self {
        let server = authority(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Self { port: listener.local_addr().unwrap().port(), open: Arc::default() };
        let open = line.open.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let server = server.clone();
                // A connection that nobody takes is closed at once.
                if let Some(open) = open.lock().as_mut() {
                    open.spawn(async move {
                        let Ok(mut far) = TcpStream::connect(server).await else { return };
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    });
                }
            }
        });
        line
    }

    fn cut(&self) {
        *self.open.lock() = None;
    }

    fn mend(&self) {
        *self.open.lock() = Some(JoinSet::new());
    }

    /// The same database over this line.
    fn url(&self, url: &str) -> String {
        url.replacen(authority(url), &format!("127.0.0.1:{}", self.port), 1)
    }
}

/// `host:port` of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
    address.split_once('/').unwrap().0
}

/// When the samples begin, in seconds: not so long ago that they are refused as too old.
fn begin() -> i64 {
    chrono::Utc::now().timestamp() - 2_700
}

/// What one source pushes: some samples of a counter, among them one that all push alike.
async fn push(node: &Node, source: usize, begin: i64) -> (u16, Value) {
    let item = |name: &str, at: i64, labels: Value| json!({"name": name, "value": at, "metric_type": "COUNTER", "timestamp": (begin + at) * 1_000, "labels": labels});
    let mut items: Vec<Value> = (0..20)
        .map(|n| {
            item(
                "orders_total",
                n * 60,
                json!({"shop": source.to_string(), "zone": (source % 3).to_string()}),
            )
        })
        .collect();
    items.push(item("common_total", 60 * (source as i64 % 4), json!({})));
    let request = node.http().post(node.url("/api/v1/metrics/custom"));
    let request = request.header("x-source-id", format!("source-{source}")).json(&items);
    node.send(request.header("idempotency-key", "one")).await
}

/// One sample of one source.
async fn push_one(node: &Node, source: usize, at: i64) -> (u16, Value) {
    let labels = json!({"shop": source.to_string()});
    let body = json!([{"name": "later_total", "value": 1, "timestamp": at * 1_000, "labels": labels}]);
    let request = node.http().post(node.url("/api/v1/metrics/custom"));
    let request = request.header("x-source-id", format!("source-{source}")).header("idempotency-key", "two");
    node.send(request.json(&body)).await
}

/// Rows of `collection_jobs` of a database.
async fn jobs(database: &Database) -> i64 {
    let mut sql = database.connect().await;
    sqlx::query("SELECT count(*) FROM collection_jobs").fetch_one(&mut sql).await.unwrap().get(0)
}

async fn databases<const N: usize>() -> [Database; N] {
    let all = futures::future::join_all((0..N).map(|_| Database::create())).await;
    all.try_into().unwrap_or_else(|_| panic!("{N} databases"))
}

async fn remove(databases: impl IntoIterator<Item = Database>) {
    futures::future::join_all(databases.into_iter().map(Database::remove)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_databases_answer_as_one() {
    let folders = [Folder::new(), Folder::new()];
    let [single, a, b, c] = databases::<4>().await;
    let one = Start::new(&folders[0].0).env("METRICSD_STORAGE_URL", single.url()).start().await;
    let shards = [&a, &b, &c].map(Database::url).join(",");
    let many = Start::new(&folders[1].0).env("METRICSD_STORAGE_SHARDS", shards).start().await;
    let begin = begin();
    for source in 0..12 {
        for node in [&one, &many] {
            let (status, answer) = push(node, source, begin).await;
            assert_eq!((status, &answer["accepted"]), (200, &json!(21)), "{answer}");
        }
    }
    let again = push(&many, 3, begin).await.1;
    assert_eq!(again["duplicate"], true, "{again}");
    let counts = [jobs(&a).await, jobs(&b).await, jobs(&c).await];
    assert!(counts.iter().sum::<i64>() == 12 && counts.iter().all(|count| *count > 0), "{counts:?}");
    let range = format!("start={begin}&end={}&step=30", begin + 1_500);
    let at = format!("time={}", begin + 1_200);
    for question in [
        format!("query_range?query=sum by (zone) (rate(orders_total[5m]))&{range}"),
        format!("query_range?query=common_total&{range}"),
        format!("query_range?query=topk(3, orders_total)&{range}"),
        format!("query?query=orders_total{{shop=~\"1.*\"}}&{at}"),
        format!("query?query=orders_total[10m]&{at}"),
        "series?match[]=orders_total&match[]=common_total".to_owned(),
        "series?match[]=orders_total&limit=5".to_owned(),
        "labels".to_owned(),
        "label/shop/values".to_owned(),
        "label/__name__/values?limit=1".to_owned(),
        "metadata".to_owned(),
        format!("metrics/query?query=count(orders_total)&{at}"),
    ] {
        let question = format!("/api/v1/{question}");
        let ((status, mut ours), (_, mut theirs)) = (many.get(&question).await, one.get(&question).await);
        for answer in [&mut ours, &mut theirs] {
            // What it took is each one's own.
            answer.as_object_mut().unwrap().remove("stats");
        }
        assert_eq!(status, 200, "{question}: {ours}");
        assert_eq!(ours, theirs, "{question}");
    }
    let (_, stats) = many.get("/api/v1/metrics/stats").await;
    assert_eq!(stats["total_metrics_collected"], 12 * 21, "{stats}");
    eventually("all events are published", 10, async || {
        (many.own_metric("metricsd_events_published_total").await == 12.0).then_some(())
    })
    .await;
    eventually("no relay has anything left", 10, async || {
        (many.own_metric("metricsd_events_backlog").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(many.own_metric("metricsd_storage_up").await, 3.0);
    drop((one, many));
    remove([single, a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_scraped_into_their_shards() {
    let folder = Folder::new();
    let [a, b] = databases::<2>().await;
    let shards = [&a, &b].map(Database::url).join(",");
    let mut node = Start::new(&folder.0).env("METRICSD_STORAGE_SHARDS", shards).start().await;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let mut targets = Vec::new();
    for n in 0..8 {
        targets.push(node.add_target(&format!("shop-{n}"), &page.url, "300ms").await);
    }
    for target in &targets {
        eventually("scrapes", 15, async || (node.jobs(target).await.len() >= 3).then_some(())).await;
        let (status, latest) = node.get(&format!("/api/v1/metrics/targets/{target}/latest")).await;
        assert!(status == 200 && latest.to_string().contains("serial"), "{latest}");
    }
    assert_eq!(node.query("up").await.len(), 8);
    node.terminate().await;
    let mut stored = 0;
    for database in [&a, &b] {
        let count = jobs(database).await;
        assert!(count > 0, "every shard has targets");
        let mut sql = database.connect().await;
        let row = sqlx::query("SELECT count(DISTINCT value) FROM metrics_ts WHERE metric_name = 'serial'")
            .fetch_one(&mut sql)
            .await
            .unwrap();
        assert_eq!(row.get::<i64, _>(0), count, "jobs lie beside their samples");
        let row = sqlx::query("SELECT count(*) FROM outbox").fetch_one(&mut sql).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 0, "events of every shard are published");
        stored += count;
    }
    assert_eq!(stored.unsigned_abs(), page.served(), "each scrape once, on one shard");
    remove([a, b]).await;
}

/// Sources of each of two shards, by which of them holds a job after pushes.
async fn sources_of_shards(node: &Node, second: &Database, begin: i64) -> (usize, usize) {
    let (mut first, mut other) = (None, None);
    for source in 0..12 {
        let before = jobs(second).await;
        assert_eq!(push(node, source, begin).await.0, 200);
        let place = if jobs(second).await > before { &mut other } else { &mut first };
        *place = Some(source);
    }
    (first.unwrap(), other.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_away_is_named_left_out_and_comes_back() {
    let folder = Folder::new();
    let [a, b] = databases::<2>().await;
    let line = Line::to(&b.url()).await;
    line.mend();
    let shards = [a.url(), line.url(&b.url())].join(",");
    // The spool would take what this shard cannot.
    let start = Start::new(&folder.0).env("METRICSD_STORAGE_SHARDS", shards);
    let start = start.env("METRICSD_SPOOL_ENABLED", "false");
    let node = start.start().await;
    let begin = begin();
    let (near, far) = sources_of_shards(&node, &b, begin).await;
    let count = format!("query=count(orders_total)&time={}", begin + 1_140);
    let all = async |extra: &str| node.get(&format!("/api/v1/query?{count}{extra}")).await;
    let value = |answer: &Value| answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
    let (status, answer) = all("&partial=true").await;
    assert_eq!((status, value(&answer).as_deref(), &answer["warnings"]), (200, Some("12"), &Value::Null));

    line.cut();
    let (status, answer) = all("").await;
    assert_eq!((status, &answer["errorType"]), (503, &json!("unavailable")), "{answer}");
    let name = answer["error"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("shard 2 (127.0.0.1:{}/metricsd_e2e_", line.port)), "{name}");
    let (status, answer) = all("&partial=true").await;
    let left: usize = value(&answer).unwrap().parse().unwrap();
    assert!(status == 200 && (1..12).contains(&left), "{answer}");
    let warning = answer["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.starts_with("shard 2 (") && warning.ends_with("its series are missing"), "{warning}");
    for look_up in ["series?match[]=orders_total", "labels?x=", "label/shop/values?x="] {
        assert_eq!(node.get(&format!("/api/v1/{look_up}")).await.0, 503, "{look_up}");
        let (status, answer) = node.get(&format!("/api/v1/{look_up}&allow_partial=true")).await;
        assert_eq!((status, &answer["warnings"][0]), (200, &json!(warning)), "{look_up}");
    }
    let (status, problem) = node.get(&format!("/api/v1/metrics/query?{count}")).await;
    assert_eq!((status, &problem["detail"]), (503, &json!(name)), "{problem}");
    let (status, own) = node.get(&format!("/api/v1/metrics/query?{count}&partial=true")).await;
    assert_eq!((status, &own["warnings"]), (200, &json!([warning])), "{own}");

    // What goes to the other shard goes on; what goes to this one is not acknowledged.
    let later = begin + 1_800;
    let started = std::time::Instant::now();
    assert_eq!(push_one(&node, near, later).await.0, 200);
    assert!(started.elapsed() < Duration::from_secs(5), "it is not held up");
    let (status, answer) = push_one(&node, far, later).await;
    assert_eq!(status, 503, "{answer}");
    let (status, ready) = node.get("/readyz").await;
    assert_eq!((status, &ready["status"]), (200, &json!("degraded")), "{ready}");
    let down: Vec<&Value> =
        ready["dependencies"].as_array().unwrap().iter().filter(|one| one["status"] == "down").collect();
    assert!(down.len() == 1 && down[0]["name"].as_str().unwrap().starts_with("storage shard 2 ("), "{ready}");
    eventually("the gauge falls", 20, async || {
        (node.own_metric("metricsd_storage_up").await == 1.0).then_some(())
    })
    .await;

    line.mend();
    eventually("whole answers", 30, async || (all("").await.0 == 200).then_some(())).await;
    let (status, answer) = push_one(&node, far, later).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    let (_, answer) = all("&partial=true").await;
    assert_eq!((value(&answer).as_deref(), &answer["warnings"]), (Some("12"), &Value::Null));
    let (_, answer) = node.get(&format!("/api/v1/query?query=count(later_total)&time={later}")).await;
    assert_eq!(value(&answer).as_deref(), Some("2"), "each is there once: {answer}");
    eventually("the gauge rises", 20, async || {
        (node.own_metric("metricsd_storage_up").await == 2.0).then_some(())
    })
    .await;
    let (_, config) = node.get("/api/v1/status/config").await;
    let shown = format!("{config}{}", start.log_text());
    let secret = a.url().split_once("://").unwrap().1.rsplit_once('@').unwrap().0.to_owned();
    assert!(secret.contains(':') && !shown.contains(&secret), "no password is shown");
    drop(node);
    remove([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_added_and_may_be_away_at_start() {
    let folder = Folder::new();
    let [a, b] = databases::<2>().await;
    let start = Start::new(&folder.0).env("METRICSD_STORAGE_URL", a.url());
    let mut node = start.start().await;
    let begin = begin();
    for source in 0..6 {
        assert_eq!(push(&node, source, begin).await.0, 200);
    }
    node.terminate().await;

    let line = Line::to(&b.url()).await;
    let shards = [a.url(), line.url(&b.url())].join(",");
    let node = start.env("METRICSD_STORAGE_SHARDS", shards).start().await;
    let count = format!("/api/v1/query?query=count(orders_total)&time={}", begin + 1_140);
    assert_eq!(node.get(&count).await.0, 503, "it has not answered yet");
    let (status, answer) = node.get(&format!("{count}&partial=true")).await;
    assert_eq!((status, &answer["data"]["result"][0]["value"][1]), (200, &json!("6")), "{answer}");
    line.mend();
    eventually("the new shard is opened", 30, async || (node.get(&count).await.0 == 200).then_some(())).await;
    // Those that went to the first shard before go to their own now, a repeat included, and are read once.
    for source in 0..12 {
        assert_eq!(push(&node, source, begin).await.0, 200);
    }
    assert!(jobs(&b).await > 0);
    let (_, answer) = node.get(&count).await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "12", "{answer}");
    let samples =
        format!("/api/v1/query?query=sum(count_over_time(orders_total[1h]))&time={}", begin + 1_140);
    let (_, answer) = node.get(&samples).await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "240", "each sample once: {answer}");
    drop(node);
    remove([a, b]).await;
}
