//! A runner of evaluation scripts: load these series, evaluate this at that time, expect exactly this.
//!
//! A script is a list of commands. A command begins at the margin, its lines are indented; `#` begins a comment line.
//!
//! - `clear` forgets all series.
//! - `load 5m` appends series, one a line, one sample every 5 minutes from the epoch on: `metric{a="b"} 1 2 _ stale 0+1x4`.
//!   `_` is a missing sample, `_x3` three of them, `1x3` four ones, `1+2x3` stands for `1 3 5 7`, `{{schema:0 sum:1
//!   count:1 buckets:[1]}}` is a native histogram, which may be repeated and added up as numbers may.
//! - `load_with_nhcb 5m` also derives a native histogram with custom buckets from each classic one.
//! - `eval instant at 50m EXPR` and `eval range from 0 to 50m step 5m EXPR` evaluate. Indented lines say what is expected:
//!   `metric{a="b"} 1` (of a range as many values as it has steps, with `_` for nothing), `1` for a scalar, and
//!   `expect ordered`, `expect fail`, `expect warn`, `expect info`, each with an optional `msg: …` or `regex: …`,
//!   `expect no_warn`, `expect no_info`, `expect string "…"`, `expect range vector from 0 to 10m step 1m`.
//! - `eval_fail`, `eval_warn`, `eval_info` and `eval_ordered` are short for `eval` with that expectation.
//!
//! What is not expected (a failure, a warning, an info, a series) fails the case. Floats compare within a relative
//! 1e-6; NaN equals NaN. The reset hint of a histogram is compared where the script says it. What instant cases say
//! must also be what a range says at that step, and what the expression says once it is read and written again.
#![allow(dead_code, unreachable_pub, unused_imports)] // Each test binary uses its own part.

pub mod annotations;
pub mod compare;
pub mod coverage;
pub mod eval;
pub mod histogram;
pub mod labels;
pub mod load;
pub mod nhcb;
pub mod parse;
pub mod run;
pub mod series;

pub use run::run;
