//! Reads a script.

use metricsd_model::{LabelSet, Millis, parse_duration};

use super::annotations::{Pattern, Remarks};
use super::labels;
use super::series::{self, Slot};

/// A command and the line that it begins on, from 1.
#[derive(Debug)]
pub struct Command {
    /// Where it stands.
    pub line: usize,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Forget all series.
    Clear,
    /// Append series.
    Load(Load),
    /// Evaluate.
    Eval(Box<Eval>),
}

/// Series to append.
#[derive(Debug)]
pub struct Load {
    /// Distance between samples.
    pub step: Millis,
    /// Also derive histograms with custom buckets from classic ones.
    pub custom_buckets: bool,
    /// From the epoch on.
    pub series: Vec<(LabelSet, Vec<Slot>)>,
}

/// One evaluation.
#[derive(Debug)]
pub struct Eval {
    /// What is evaluated.
    pub expr: String,
    /// When.
    pub when: When,
    /// What must come of it.
    pub expected: Expected,
}

/// When an expression is evaluated.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// At one moment.
    Instant(Millis),
    /// At each step.
    Range(Steps),
}

/// Steps of a range.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// The first.
    pub start: Millis,
    /// None is later.
    pub end: Millis,
    /// From one to the next.
    pub step: Millis,
}

impl Steps {
    /// The moment of a step.
    pub fn at(self, index: usize) -> Millis {
        self.start + self.step * i64::try_from(index).expect("few steps")
    }
}

/// What must come of an evaluation.
#[derive(Debug, Default)]
pub struct Expected {
    /// An error, of this text.
    pub fail: Option<Option<Pattern>>,
    /// Warnings.
    pub warnings: Remarks,
    /// Infos.
    pub infos: Remarks,
    /// The series come in the order of the script.
    pub ordered: bool,
    /// A text.
    pub string: Option<String>,
    /// A scalar.
    pub scalar: Option<f64>,
    /// A range vector of an instant query, with these steps.
    pub range_vector: Option<Steps>,
    /// Series.
    pub series: Vec<(LabelSet, Vec<Slot>)>,
}

/// Reads a whole script; an error names its line.
pub fn parse(text: &str) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let result = if line.starts_with([' ', '\t']) {
            match commands.last_mut() {
                Some(command) => continue_command(command, line.trim_start()),
                None => Err("an indented line without a command".to_owned()),
            }
        } else {
            begin_command(line).map(|action| commands.push(Command { line: index + 1, action }))
        };
        result.map_err(|error| format!("line {}: {error}", index + 1))?;
    }
    Ok(commands)
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn begin_command(line: &str) -> Result<Action, String> {
    let (command, rest) = word(line);
    let mut expected = Expected::default();
    match command {
        "clear" if rest.is_empty() => return Ok(Action::Clear),
        "load" | "load_with_nhcb" => {
            let custom_buckets = command == "load_with_nhcb";
            return Ok(Action::Load(Load { step: time(rest)?, custom_buckets, series: Vec::new() }));
        }
        "eval" => {}
        "eval_fail" => expected.fail = Some(None),
        "eval_warn" => expected.warnings.expect(None),
        "eval_info" => expected.infos.expect(None),
        "eval_ordered" => expected.ordered = true,
        other => return Err(format!("{other:?} is no command")),
    }
    let (kind, rest) = word(rest);
    let (when, expr) = match kind {
        "instant" => {
            let (at, expr) = after("at", rest)?;
            (When::Instant(time(at)?), expr)
        }
        "range" => {
            let (steps, expr) = steps(rest)?;
            (When::Range(steps), expr)
        }
        other => return Err(format!("expected instant or range instead of {other:?}")),
    };
    if expr.is_empty() {
        return Err("no expression".to_owned());
    }
    Ok(Action::Eval(Box::new(Eval { expr: expr.to_owned(), when, expected })))
}

/// The word after a keyword, and what follows it.
fn after<'a>(keyword: &str, text: &'a str) -> Result<(&'a str, &'a str), String> {
    let (first, rest) = word(text);
    if first == keyword { Ok(word(rest)) } else { Err(format!("expected {keyword} instead of {first:?}")) }
}

/// `from X to Y step Z`, and what follows.
fn steps(text: &str) -> Result<(Steps, &str), String> {
    let (start, rest) = after("from", text)?;
    let (end, rest) = after("to", rest)?;
    let (step, rest) = after("step", rest)?;
    Ok((Steps { start: time(start)?, end: time(end)?, step: time(step)? }, rest))
}

/// A duration or a number of seconds; a sign may stand before it.
fn time(text: &str) -> Result<Millis, String> {
    let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |unsigned| (-1, unsigned));
    if let Ok(duration) = parse_duration(unsigned) {
        return Ok(sign * Millis::try_from(duration.as_millis()).map_err(|error| error.to_string())?);
    }
    let seconds: f64 = unsigned.parse().map_err(|_| format!("{text:?} is no time"))?;
    #[expect(clippy::cast_possible_truncation, reason = "times of scripts are small")]
    Ok(sign * (seconds * 1000.0).round() as Millis)
}

fn continue_command(command: &mut Command, line: &str) -> Result<(), String> {
    match &mut command.action {
        Action::Clear => Err("clear takes no lines".to_owned()),
        Action::Load(load) => {
            let (labels, values) = labels::read(line)?;
            load.series.push((labels, series::read(values)?));
            Ok(())
        }
        Action::Eval(eval) => expect(&mut eval.expected, line),
    }
}

fn expect(expected: &mut Expected, line: &str) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("expect ") {
        return expect_kind(expected, rest.trim());
    }
    if line.starts_with('"') {
        expected.string = Some(labels::quoted(line)?.0);
        return Ok(());
    }
    if let Ok((value, "")) = series::number(line) {
        expected.scalar = Some(value);
        return Ok(());
    }
    let (labels, values) = labels::read(line)?;
    expected.series.push((labels, series::read(values)?));
    Ok(())
}

fn expect_kind(expected: &mut Expected, text: &str) -> Result<(), String> {
    let (kind, rest) = word(text);
    match kind {
        "ordered" => expected.ordered = true,
        "fail" => expected.fail = Some(Pattern::read(rest)?),
        "warn" => expected.warnings.expect(Pattern::read(rest)?),
        "info" => expected.infos.expect(Pattern::read(rest)?),
        "no_warn" | "no_info" => {}
        "string" => expected.string = Some(labels::quoted(rest)?.0),
        "range" => {
            let rest = rest.strip_prefix("vector").ok_or("expected range vector")?;
            expected.range_vector = Some(steps(rest)?.0);
        }
        other => return Err(format!("{other:?} is nothing to expect")),
    }
    Ok(())
}
