//! A process that appends and compacts is killed at any point; what it acknowledged is there, once.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Layout, Millis};
use metricsd_ports::conformance::fixtures::{HOUR, NOON, all_of, batch, frame, many_series};
use metricsd_ports::conformance::samples::{compact_all, policy};
use metricsd_ports::{Compaction, SampleSink};
use metricsd_sqlite::SqliteStore;
use sqlx::Row;
use support::{Folder, connection};

const KILLS: usize = 20;
const SERIES: usize = 50;

/// Says to the child which file is meant and with which round it begins.
const FILE: &str = "METRICSD_TEST_FILE";
const ROUND: &str = "METRICSD_TEST_ROUND";

/// Hours go round, so that every pass finds late samples.
fn time_of(round: i64) -> Millis {
    NOON + round % 5 * HOUR + round * 100
}

/// Not a test: what the test starts, and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test, in a process of its own"]
async fn child() {
    let (Ok(file), Ok(round)) = (std::env::var(FILE), std::env::var(ROUND)) else { return };
    let store = Arc::new(SqliteStore::open(Path::new(&file)).await.expect("open the store"));
    let compacting = Arc::clone(&store);
    tokio::spawn(async move {
        loop {
            compacting.compact(&policy(NOON + 24 * HOUR, 500)).await.expect("a compaction");
        }
    });
    let layout = Layout::shared(many_series("killed", SERIES));
    let mut out = std::io::stdout();
    for round in round.parse::<i64>().expect("a number").. {
        let page = frame(&layout, time_of(round), &[round as f64; SERIES]);
        store.append(&[batch("killed", &round.to_string(), vec![page])]).await.expect("an append");
        writeln!(out, "acknowledged {round}").expect("someone listens");
        out.flush().expect("someone listens");
    }
}

/// Runs a child for a while, kills it, and answers how many rounds it acknowledged in all.
fn run_and_kill(file: &Path, first: i64, lasting: Duration) -> i64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(FILE, file)
        .env(ROUND, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the child");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let reading = std::thread::spawn(move || {
        let mut acknowledged = first;
        for line in out.lines().map_while(Result::ok) {
            if let Some((_, round)) = line.split_once("acknowledged ") {
                acknowledged = round.parse::<i64>().expect("a number") + 1;
            }
        }
        acknowledged
    });
    std::thread::sleep(lasting);
    // SIGKILL.
    child.kill().expect("kill the child");
    child.wait().expect("the child's end");
    reading.join().expect("the reader")
}

/// How many rounds are there; each as a whole, once.
async fn stored(store: &SqliteStore) -> i64 {
    let found = all_of(store, "killed").await;
    let rounds = found.first().map_or(0, |(_, samples)| samples.len() as i64);
    let mut expected: Vec<(Millis, u64)> =
        (0..rounds).map(|round| (time_of(round), (round as f64).to_bits())).collect();
    expected.sort_unstable();
    for (labels, samples) in &found {
        assert_eq!(samples, &expected, "{labels}");
    }
    assert!(rounds == 0 || found.len() == SERIES);
    rounds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_a_process_is_killed() {
    let folder = Folder::new();
    let path = folder.file();
    let mut rounds = 0;
    for kill in 0..KILLS {
        let lasting = Duration::from_millis(50 + u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * 3);
        let acknowledged = run_and_kill(&path, rounds, lasting);
        let store = folder.store().await;
        let found = stored(&store).await;
        // One append may have been committed and not yet answered.
        assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} of {acknowledged} after {kill}");
        rounds = found;
        store.close().await;
    }
    assert!(rounds > KILLS as i64, "the children did something: {rounds}");
    let store = folder.store().await;
    compact_all(&store, &policy(NOON + 24 * HOUR, 10_000)).await;
    assert_eq!(stored(&store).await, rounds);
    store.close().await;
    let mut connection = connection(&path).await;
    let query = "SELECT (SELECT count(*) FROM frames), (SELECT count(*) FROM segments), integrity_check
        FROM pragma_integrity_check";
    let row = sqlx::query(query).fetch_one(&mut connection).await.expect("a check");
    let (frames, segments): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!((frames, row.get::<String, _>(2).as_str()), (0, "ok"));
    assert!(segments >= SERIES as i64, "{segments} segments");
}
