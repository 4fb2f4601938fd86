//! Partial answers: a question may allow a store over several databases to leave out those that do not answer.
//!
//! What is allowed travels with the task that asks, beside the arguments of the ports: stores of one database have
//! nothing to leave out and need not know of it. A store must note what it leaves out in the task that asked it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;

tokio::task_local! {
    /// What was left out so far.
    static LEFT_OUT: Arc<Mutex<BTreeSet<String>>>;
}

/// Carries out a question whose answer may be partial. Answers beside its outcome what was left out, a sentence each, fit
/// for the one who asked; nothing where the answer is whole.
pub async fn allow<F: Future>(question: F) -> (F::Output, Vec<String>) {
    let left_out = Arc::new(Mutex::new(BTreeSet::new()));
    let outcome = LEFT_OUT.scope(left_out.clone(), question).await;
    let left_out = std::mem::take(&mut *left_out.lock());
    (outcome, left_out.into_iter().collect())
}

/// Notes that something is left out of an answer. `false` where the question does not allow that: then there is to be no
/// answer.
pub fn leave_out(what: impl Into<String>) -> bool {
    LEFT_OUT.try_with(|left_out| left_out.lock().insert(what.into())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_out_is_told_to_the_one_who_asked() {
        assert!(!leave_out("nobody allowed it"));
        let question = async {
            let noted = [leave_out("b"), leave_out("a"), leave_out("b")];
            let elsewhere = tokio::spawn(async { leave_out("another task's question") });
            (noted, elsewhere.await.unwrap())
        };
        let ((noted, elsewhere), left_out) = allow(question).await;
        assert_eq!((noted, elsewhere), ([true; 3], false));
        assert_eq!(left_out, ["a", "b"]);
        assert!(!leave_out("it is over"));
    }
}
