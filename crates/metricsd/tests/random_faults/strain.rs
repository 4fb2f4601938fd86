//! Whether the machine itself keeps up: where it does not, scrapes are late and time out, and nobody is to blame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::Connection;

use crate::account::Window;
use crate::{now, support};

/// A page that takes longer than this in the test's own hands was served by a machine that does not keep up.
const SLOW: Duration = Duration::from_millis(250);

/// Postgres commits in some milliseconds; workers hear of a hand-over 2.5 s before it.
const SLOW_COMMIT: Duration = Duration::from_millis(500);

/// Fetches one page again and again.
pub(crate) struct Strain(Arc<Mutex<Vec<Window>>>);

impl Strain {
    pub(crate) fn watch(url: String) -> Self {
        let windows: Arc<Mutex<Vec<Window>>> = Arc::default();
        let seen = windows.clone();
        tokio::spawn(async move {
            let client = support::client();
            loop {
                let (from, started) = (now(), Instant::now());
                let _ = client.get(&url).send().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                if started.elapsed() > SLOW + Duration::from_millis(50) {
                    let why = format!("a page took {:?}", started.elapsed());
                    // A scrape that began before may have been held up as well, and one that was due meanwhile.
                    seen.lock().push(Window { from: from - 1_500, until: now() + 1_500, why });
                }
            }
        });
        Self(windows)
    }

    /// The same of the disk: a commit that takes as long as this holds up everybody's. A server that is away is none.
    pub(crate) fn watch_commits(&self, url: String) {
        let seen = self.0.clone();
        tokio::spawn(async move {
            loop {
                let Ok(mut sql) = sqlx::PgConnection::connect(&url).await else {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                };
                let commit = "CREATE TABLE IF NOT EXISTS test_strain (at timestamptz); INSERT INTO test_strain VALUES (now())";
                loop {
                    let (from, started) = (now(), Instant::now());
                    if sqlx::raw_sql(commit).execute(&mut sql).await.is_err() {
                        break;
                    }
                    if started.elapsed() > SLOW_COMMIT {
                        let why = format!("a commit took {:?}", started.elapsed());
                        seen.lock().push(Window { from: from - 1_500, until: now() + 2_500, why });
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }

    /// When it did not keep up.
    pub(crate) fn windows(&self) -> Vec<Window> {
        self.0.lock().clone()
    }
}
