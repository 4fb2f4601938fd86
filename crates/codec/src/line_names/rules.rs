//! Rules that make a name and labels of a path.
//!
//! A rule is one line: a pattern, then what becomes of the paths that match it.
//!
//! ```text
//! servers.*.cpu.*   name=cpu_$2  host=$1
//! stats.timers.**   name=timer_$1
//! debug.**          drop
//! ```
//!
//! `*` stands for one part between dots, `**` at the end for all that is left. `$1` is what the first of them stood for.
//! The first rule that matches counts.

/// Rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    parts: Vec<Part>,
    /// All that is left stands for one more capture.
    open: bool,
    /// Absent: drop.
    makes: Option<Makes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Makes {
    /// Absent: the path itself.
    name: Option<Template>,
    labels: Vec<(String, Template)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Any,
}

type Template = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// From 0.
    Capture(usize),
}

/// Why rules do not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?}: {problem}")]
pub struct RuleError {
    /// The rule as it was written.
    pub rule: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// What rules made of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// No rule matches.
    Unmatched,
    /// It is not wanted.
    Dropped,
    /// It has another name (where there is one) and labels.
    Named {
        /// Absent: the path itself.
        name: Option<String>,
        /// Labels in the rule's order; those without a value are left out.
        labels: Vec<(String, String)>,
    },
}

impl Rules {
    /// Rules, each a line.
    ///
    /// # Errors
    /// The first that does not read.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleError> {
        let rule = |line: &str| {
            Rule::parse(line)
                .map_err(|problem| RuleError { rule: line.to_owned(), problem: problem.to_owned() })
        };
        lines.into_iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// What the first rule that matches makes of a path.
    pub fn apply(&self, path: &str) -> Mapped {
        for rule in &self.0 {
            if let Some(captures) = rule.captures(path) {
                return rule.make(&captures);
            }
        }
        Mapped::Unmatched
    }
}

impl Rule {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split_whitespace();
        let pattern = words.next().ok_or("the rule is empty; expected a pattern such as servers.*.cpu")?;
        let (pattern, open) = match pattern.strip_suffix("**") {
            Some("") => ("", true),
            Some(front) => (front.strip_suffix('.').ok_or("expected a dot before **")?, true),
            None => (pattern, false),
        };
        let part = |part: &str| match part {
            "*" => Ok(Part::Any),
            "" => Err("a part of the pattern is empty"),
            text if text.contains('*') => Err("expected * to stand for a whole part between dots"),
            text => Ok(Part::Text(text.to_owned())),
        };
        let parts = match pattern {
            "" => Vec::new(),
            pattern => pattern.split('.').map(part).collect::<Result<Vec<_>, _>>()?,
        };
        let captures = parts.iter().filter(|part| **part == Part::Any).count() + usize::from(open);
        let mut makes = Makes { name: None, labels: Vec::new() };
        for word in words {
            if word == "drop" {
                return Ok(Self { parts, open, makes: None });
            }
            let (name, text) = word.split_once('=').ok_or("expected name=…, LABEL=… or drop")?;
            let template = template(text, captures)?;
            match name {
                "" => return Err("a label has no name"),
                "name" => makes.name = Some(template),
                label => makes.labels.push((label.to_owned(), template)),
            }
        }
        Ok(Self { parts, open, makes: Some(makes) })
    }

    fn captures<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let mut captures = Vec::new();
        let mut rest = Some(path);
        for part in &self.parts {
            let (head, tail) = match rest?.split_once('.') {
                Some((head, tail)) => (head, Some(tail)),
                None => (rest?, None),
            };
            match part {
                Part::Any => captures.push(head),
                Part::Text(text) if text == head => {}
                Part::Text(_) => return None,
            }
            rest = tail;
        }
        match (self.open, rest) {
            (true, Some(rest)) => captures.push(rest),
            (false, None) => {}
            _ => return None,
        }
        Some(captures)
    }

    fn make(&self, captures: &[&str]) -> Mapped {
        let Some(makes) = &self.makes else { return Mapped::Dropped };
        let fill = |template: &Template| {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Capture(place) => captures.get(*place).copied().unwrap_or_default().to_owned(),
            };
            template.iter().map(piece).collect::<String>()
        };
        let labels = makes.labels.iter().map(|(name, template)| (name.clone(), fill(template)));
        Mapped::Named {
            name: makes.name.as_ref().map(fill),
            labels: labels.filter(|(_, value)| !value.is_empty()).collect(),
        }
    }
}

/// `cpu_$2` or `cpu_${2}_total`.
fn template(text: &str, captures: usize) -> Result<Template, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('$') {
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned()));
        }
        let (number, tail) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("expected } after ${")?,
            None => {
                let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        match number.parse::<usize>() {
            Ok(number) if (1..=captures).contains(&number) => pieces.push(Piece::Capture(number - 1)),
            Ok(_) => return Err("there are not so many * in the pattern"),
            Err(_) => return Err("expected a number after $"),
        }
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[&str], path: &str, expected: &Mapped) {
        let rules = Rules::parse(rules.iter().copied()).unwrap();
        assert_eq!(rules.apply(path), *expected, "{path}");
    }

    fn named(name: Option<&str>, labels: &[(&str, &str)]) -> Mapped {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Mapped::Named { name: name.map(str::to_owned), labels }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = [
            "servers.*.cpu.* name=cpu_${2}_load host=$1 mode=$2",
            "servers.*.** name=$2 host=$1",
            "debug.** drop",
            "plain",
            "** job=other",
        ];
        check(&rules, "servers.a.cpu.0", &named(Some("cpu_0_load"), &[("host", "a"), ("mode", "0")]));
        check(&rules, "servers.a.mem.free", &named(Some("mem.free"), &[("host", "a")]));
        check(&rules, "debug.x.y", &Mapped::Dropped);
        check(&rules, "plain", &named(None, &[]));
        check(&rules, "debug", &named(None, &[("job", "other")]));
        check(&rules[..4], "plain.more", &Mapped::Unmatched);
        check(&rules[..2], "servers.a", &Mapped::Unmatched);
        check(&["*.x l=$1"], ".x", &named(None, &[]));
    }

    #[test]
    fn mistakes_are_named() {
        for (rule, problem) in [
            ("", "the rule is empty; expected a pattern such as servers.*.cpu"),
            ("a..b name=x", "a part of the pattern is empty"),
            ("a.b*.c name=x", "expected * to stand for a whole part between dots"),
            ("a** name=x", "expected a dot before **"),
            ("a.* name=$2", "there are not so many * in the pattern"),
            ("a.* name=$x", "expected a number after $"),
            ("a.* name=${1", "expected } after ${"),
            ("a.* host", "expected name=…, LABEL=… or drop"),
            ("a.* =x", "a label has no name"),
        ] {
            assert_eq!(Rules::parse([rule]).unwrap_err().problem, problem, "{rule}");
        }
    }
}
