//! Work on many series, spread over the processor's cores where it is worth it.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use crate::QueryError;
use crate::engine::control::Control;

/// Below so many values the work of starting threads is not worth it.
const WORTH_IT: usize = 200_000;

/// Series between two looks at the deadline.
const BETWEEN_CHECKS: usize = 64;

static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get).min(8));

/// Applies `work` to every item, in order; `weight` is how many values all of it touches.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    weight: usize,
    control: &Control,
    work: impl Fn(&T) -> R + Sync,
) -> Result<Vec<R>, QueryError> {
    if weight < WORTH_IT || *CORES == 1 || items.len() < 2 {
        return one_by_one(items, control, &work);
    }
    let part = items.len().div_ceil(*CORES);
    let parts = thread::scope(|scope| {
        let work = &work;
        let start = |part| scope.spawn(move || one_by_one(part, control, work));
        let threads: Vec<_> = items.chunks(part).map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Result<Vec<Vec<R>>, QueryError>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}

fn one_by_one<T, R>(items: &[T], control: &Control, work: &impl Fn(&T) -> R) -> Result<Vec<R>, QueryError> {
    let mut results = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        if index % BETWEEN_CHECKS == 0 {
            control.check()?;
        }
        results.push(work(item));
    }
    Ok(results)
}
