//! Whatever is remembered of frames, answers are the same.

#[path = "../../sqlite/tests/support/frames.rs"]
mod frames;
mod support;

use metricsd_postgres::{PostgresOptions, PostgresStore};
use support::{Database, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_depend_on_what_is_remembered() {
    let database = Database::create().await;
    let mut stores = Vec::new();
    // Nothing, some small frames, a part, everything.
    for frame_cache_bytes in [0, 2_000, 20_000, 100 << 20] {
        let options = PostgresOptions { frame_cache_bytes, ..options() };
        stores.push(PostgresStore::connect(&database.url, options).await.expect("connect"));
    }
    frames::all_answer_alike(&stores).await;
}
