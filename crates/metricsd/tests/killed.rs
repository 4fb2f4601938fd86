//! metricsd and Postgres are killed with -9 at random moments, while samples come in and while they are compacted:
//! number and sum of the samples of each series stay what was acknowledged.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use support::postgres::Cluster;
use support::senders::{HOURS, METRIC, Random, Senders, Sums, end_of_hours};
use support::{Folder, Node, Start, eventually};

const KILLS: u64 = 20;

/// Of so many kills of metricsd one is also one of Postgres.
const POSTGRES_EVERY: u64 = 4;

/// Kills that are to have come while samples were moved into segments.
const AT_WORK: u64 = 5;

/// Another run with the same numbers; moments still differ.
const SEED: &str = "METRICSD_TEST_SEED";

/// One metricsd that is started again and again, and those who push to it.
struct Course<'a> {
    start: &'a Start<'a>,
    postgres: Option<&'a Cluster>,
    random: Random,
    end: i64,
    senders: Senders,
    node: Node,
    /// Of the log, what earlier processes wrote.
    logged: usize,
    /// Kills that came in the middle of a compaction: of metricsd, and of Postgres.
    at_work: (u64, u64),
    segments: f64,
}

impl<'a> Course<'a> {
    async fn begin(start: &'a Start<'a>, postgres: Option<&'a Cluster>) -> Self {
        let seed = std::env::var(SEED).map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|_| uuid::Uuid::new_v4().as_u64_pair().0);
        println!("{SEED}={seed}");
        let (mut random, end) = (Random(seed), end_of_hours());
        let node = start.start().await;
        let senders = Senders::new(&node.url(""), end, &mut random);
        Self { start, postgres, random, end, senders, node, logged: 0, at_work: (0, 0), segments: 0.0 }
    }

    async fn run(&mut self) {
        self.senders.go();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for kill in 0..KILLS {
            self.await_moment(kill).await;
            match self.postgres {
                Some(postgres) if kill % POSTGRES_EVERY == POSTGRES_EVERY - 1 => {
                    let stays = kill % (2 * POSTGRES_EVERY) == POSTGRES_EVERY - 1;
                    self.kill_postgres(postgres, stays).await;
                }
                _ => self.kill().await,
            }
            self.node = self.start.start().await;
            self.check(&format!("after kill {kill}")).await;
            self.senders.go();
        }
    }

    /// Waits until a random part of the samples that wait has been moved, at most for a random time.
    async fn await_moment(&mut self, kill: u64) {
        if kill.is_multiple_of(3) {
            tokio::time::sleep(Duration::from_millis(self.random.below(700))).await;
            return;
        }
        let wanted = 1 + self.random.below(6 * HOURS as u64);
        let deadline = Instant::now() + Duration::from_millis(500 + self.random.below(2_000));
        while !self.compacted() && Instant::now() < deadline && self.moved().await < wanted as f64 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        // Not always just after a commit.
        tokio::time::sleep(Duration::from_millis(self.random.below(40))).await;
    }

    async fn moved(&self) -> f64 {
        self.node.own_metric("metricsd_compaction_segments_total").await
    }

    /// What this process has written to its log.
    fn log(&self) -> String {
        self.start.log_text().split_off(self.logged)
    }

    /// Whether this process has once moved all that it found.
    fn compacted(&self) -> bool {
        self.log().contains("samples compacted")
    }

    /// Whether a compaction of this process has failed.
    fn failed(&self) -> bool {
        self.log().contains("samples were not compacted")
    }

    async fn kill(&mut self) {
        let moved = self.moved().await;
        self.node.kill().await;
        self.segments += moved;
        self.at_work.0 += u64::from(moved > 0.0 && !self.compacted() && !self.failed());
        self.logged = self.start.log_text().len();
    }

    /// Kills Postgres and later metricsd, which sees the other come back before that if it `stays`.
    async fn kill_postgres(&mut self, postgres: &Cluster, stays: bool) {
        postgres.kill().await;
        tokio::time::sleep(Duration::from_millis(self.random.below(500))).await;
        self.at_work.1 += u64::from(self.failed());
        if !stays {
            self.kill().await;
        }
        postgres.bring_up().await;
        if stays {
            let node = &self.node;
            eventually("ready again", 60, async || (node.get("/readyz").await.0 == 200).then_some(())).await;
            self.check("after Postgres came back").await;
            self.senders.go();
            tokio::time::sleep(Duration::from_millis(self.random.below(500))).await;
            self.kill().await;
        }
    }

    /// Has the senders rest and compares what is there with what was acknowledged, while compaction goes on.
    async fn check(&mut self, when: &str) {
        self.senders.rest().await;
        let expected = self.senders.sums();
        let found = self.by_query().await;
        assert_eq!(found, expected, "{when}, by query; the log:\n{}", self.log());
        if let Some(postgres) = self.postgres {
            let found = by_sql(postgres).await;
            assert_eq!(found, expected, "{when}, by SQL; the log:\n{}", self.log());
        }
    }

    async fn by_query(&self) -> Sums {
        let (counts, sums) = (self.ask("count_over_time").await, self.ask("sum_over_time").await);
        assert_eq!(counts.len(), sums.len());
        let pair = |((series, count), (of, sum)): ((String, u64), (String, u64))| {
            assert_eq!(series, of);
            (series, (count, sum))
        };
        counts.into_iter().zip(sums).map(pair).collect()
    }

    /// What a function says of all samples of each series, in order of these.
    async fn ask(&self, function: &str) -> Vec<(String, u64)> {
        let query = format!("{function}({METRIC}[{}h])", HOURS + 1);
        let time = (self.end / 1_000).to_string();
        let request = self.node.http().get(self.node.url("/api/v1/metrics/query"));
        let (status, answer) = self.node.send(request.query(&[("query", &query), ("time", &time)])).await;
        assert_eq!(status, 200, "{answer}");
        let entry = |entry: &serde_json::Value| {
            let value: f64 = entry["value"][1].as_str().unwrap().parse().unwrap();
            assert_eq!(value.fract(), 0.0);
            (entry["metric"]["s"].as_str().unwrap().to_owned(), value as u64)
        };
        let mut found: Vec<_> = answer["result"].as_array().unwrap().iter().map(entry).collect();
        found.sort();
        found
    }

    /// Lets compaction come to its rest, then looks once more.
    async fn finish(&mut self, frames: impl AsyncFn() -> i64) {
        self.check("before the last compaction").await;
        self.kill().await;
        self.node = self.start.start().await;
        eventually("the end of compaction", 120, async || {
            let complete = self.node.own_metric("metricsd_compaction_complete_timestamp_seconds").await;
            (complete > 0.0 && frames().await == 0).then_some(())
        })
        .await;
        self.check("at the end").await;
        self.segments += self.moved().await;
        let (acknowledged, repeated) = self.senders.batches();
        println!(
            "{acknowledged} batches, {repeated} sent again, {} segments, {:?} kills at work",
            self.segments, self.at_work
        );
        assert!(acknowledged > KILLS as usize && repeated > 0, "{acknowledged} batches, {repeated} again");
        assert!(self.segments > 0.0);
        assert!(self.at_work.0 >= AT_WORK, "only {} kills of metricsd hit a compaction", self.at_work.0);
    }
}

async fn by_sql(postgres: &Cluster) -> Sums {
    let query = "SELECT labels->>'s', count(*), sum(value)::bigint FROM metrics_ts
        WHERE metric_name = $1 AND timestamp > now() - interval '30 days' GROUP BY 1";
    let rows = sqlx::query(query).bind(METRIC).fetch_all(&mut postgres.connect().await).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get::<i64, _>(1) as u64, row.get::<i64, _>(2) as u64))).collect()
}

fn start(folder: &Path) -> Start<'_> {
    // What is acknowledged is compared with what is stored at once; what waits on disk has tests of its own.
    Start::new(folder)
        .env("METRICSD_SPOOL_ENABLED", "false")
        .env("METRICSD_STORAGE_COMPACTION_DELAY", "0s")
        .env("METRICSD_LIMITS_MAX_SAMPLE_AGE", "0s")
        .env("METRICSD_RETENTION_DEFAULT", "0s")
}

async fn sqlite(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}?mode=ro", path.display())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_count_and_sum() {
    let folder = Folder::new();
    let path = folder.0.join("metricsd.db");
    let start = start(&folder.0);
    let mut course = Course::begin(&start, None).await;
    course.run().await;
    let frames = async || {
        let row = sqlx::query("SELECT count(*) FROM frames").fetch_one(&mut sqlite(&path).await).await;
        row.unwrap().get(0)
    };
    course.finish(frames).await;
    let query = "SELECT (SELECT count(*) FROM segments), integrity_check FROM pragma_integrity_check";
    let row = sqlx::query(query).fetch_one(&mut sqlite(&path).await).await.unwrap();
    assert_eq!(row.get::<&str, _>(1), "ok");
    assert!(row.get::<i64, _>(0) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn timescale_keeps_count_and_sum() {
    let folder = Folder::new();
    let postgres = Cluster::start().await;
    let start = start(&folder.0).env("METRICSD_STORAGE_URL", postgres.url());
    let mut course = Course::begin(&start, Some(&postgres)).await;
    course.run().await;
    let frames = async || {
        let row = sqlx::query("SELECT count(*) FROM frames").fetch_one(&mut postgres.connect().await).await;
        row.unwrap().get(0)
    };
    course.finish(frames).await;
    assert!(course.at_work.1 > 0, "no kill of Postgres hit a compaction");
    drop(course);
}
