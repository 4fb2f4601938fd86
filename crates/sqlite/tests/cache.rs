//! Whatever is remembered of frames, answers are the same.

#[path = "support/frames.rs"]
mod frames;
mod support;

use support::Folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_depend_on_what_is_remembered() {
    let folder = Folder::new();
    let mut stores = Vec::new();
    // Nothing, some small frames, a part, everything.
    for bytes in [0, 2_000, 20_000, 100 << 20] {
        stores.push(folder.store().await.with_frame_cache(bytes));
    }
    frames::all_answer_alike(&stores).await;
}
