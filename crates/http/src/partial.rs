//! `partial=true`: an answer without the shards that do not answer, with a warning for each, rather than none.

use metricsd_ports::partial;

/// The parameter's names: ours, and as other systems call it.
pub(crate) const NAMES: [&str; 2] = ["partial", "allow_partial"];

/// Reads a value of the parameter; an absent one is empty.
pub(crate) fn parse(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "" | "false" | "0" => Ok(false),
        other => Err(format!("expected true or false, not {:?}", other.chars().take(60).collect::<String>())),
    }
}

/// Carries out a question, in part where that is allowed; beside its outcome stands what is missing.
pub(crate) async fn ask<F: Future>(allowed: bool, question: F) -> (F::Output, Vec<String>) {
    match allowed {
        true => partial::allow(question).await,
        false => (question.await, Vec::new()),
    }
}
