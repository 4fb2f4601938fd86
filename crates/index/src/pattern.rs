//! What a regular expression says of the values that it can match: literals to look up, prefixes to range over.

use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Dot, Hir, HirKind, Look};

/// Literals drawn from one expression at most; one with more is answered by a scan.
const MAX_LITERALS: usize = 4096;

/// What a value of one of the [`Pattern::prefixes`] must pass besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing: the expression ends in `.*`.
    None,
    /// It goes on after the prefix: the expression ends in `.+`.
    Longer,
    /// The expression itself.
    Regex,
}

/// The values that an expression matches: the exact ones, and those with one of the prefixes that pass the check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Sorted, unique, without those that have one of the prefixes.
    pub(crate) exact: Vec<Vec<u8>>,
    /// Sorted, none the beginning of another.
    pub(crate) prefixes: Vec<Vec<u8>>,
    pub(crate) check: Check,
}

impl Pattern {
    /// Reads a pattern as `metricsd_model::anchored_regex` compiles it. What it cannot make out is left to the check.
    pub(crate) fn new(pattern: &str) -> Self {
        // The whole text, not the pattern alone: what is compiled is what counts, whatever parentheses a pattern has.
        let Ok(hir) = regex_syntax::parse(&format!("^(?s:{pattern})$")) else { return Self::scan() };
        let HirKind::Concat(parts) = hir.kind() else { return Self::scan() };
        let [first, inner @ .., last] = &parts[..] else { return Self::scan() };
        if !is_look(first, Look::Start) || !is_look(last, Look::End) {
            return Self::scan();
        }
        Self::with_open_end(inner).unwrap_or_else(|| Self::from_literals(inner))
    }

    /// Nothing is known but the expression.
    fn scan() -> Self {
        Self { exact: Vec::new(), prefixes: vec![Vec::new()], check: Check::Regex }
    }

    /// Literals followed by `.*` or `.+`.
    fn with_open_end(parts: &[Hir]) -> Option<Self> {
        let (last, rest) = parts.split_last()?;
        let check = open_end(last)?;
        let rest = Hir::concat(rest.to_vec());
        let literals = extractor().extract(&rest);
        if !rest.properties().look_set().is_empty() || !literals.is_exact() {
            return None;
        }
        let prefixes = literals.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect();
        Some(Self { exact: Vec::new(), prefixes: minimal(prefixes), check })
    }

    /// Values or prefixes that every match has.
    fn from_literals(parts: &[Hir]) -> Self {
        let hir = Hir::concat(parts.to_vec());
        // Assertions such as `\b` count as nothing when literals are drawn, so that even an exact one may not match.
        let certain = hir.properties().look_set().is_empty();
        let literals = extractor().extract(&hir);
        let Some(literals) = literals.literals() else { return Self::scan() };
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for literal in literals {
            let list = if certain && literal.is_exact() { &mut exact } else { &mut prefixes };
            list.push(literal.as_bytes().to_vec());
        }
        let prefixes = minimal(prefixes);
        exact.sort_unstable();
        exact.dedup();
        exact.retain(|text| {
            let before = prefixes.partition_point(|prefix| prefix <= text);
            before
                .checked_sub(1)
                .and_then(|at| prefixes.get(at))
                .is_none_or(|prefix| !text.starts_with(prefix))
        });
        Self { exact, prefixes, check: Check::Regex }
    }
}

fn extractor() -> Extractor {
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_class(64).limit_literal_len(512).limit_total(MAX_LITERALS);
    extractor
}

/// Sorted, and without those that another one begins: their values are among those of the shorter.
fn minimal(mut prefixes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    prefixes.sort_unstable();
    prefixes.dedup_by(|next, kept| next.starts_with(kept));
    prefixes
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

/// Whether this is `.*` or `.+`, in parentheses or not, greedy or not.
fn open_end(hir: &Hir) -> Option<Check> {
    match hir.kind() {
        HirKind::Capture(capture) => open_end(&capture.sub),
        HirKind::Repetition(some) if some.max.is_none() && *some.sub == Hir::dot(Dot::AnyChar) => {
            match some.min {
                0 => Some(Check::None),
                1 => Some(Check::Longer),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact values, prefixes and check of a pattern, as text.
    fn seen(pattern: &str) -> (String, String, Check) {
        let pattern = Pattern::new(pattern);
        let join = |list: Vec<Vec<u8>>| {
            list.into_iter()
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .collect::<Vec<_>>()
                .join(",")
        };
        (join(pattern.exact), join(pattern.prefixes), pattern.check)
    }

    fn expected(exact: &str, prefixes: &str, check: Check) -> (String, String, Check) {
        (exact.into(), prefixes.into(), check)
    }

    #[test]
    fn literals_become_look_ups() {
        for (pattern, values) in [
            ("foo", "foo"),
            ("foo|bar|baz", "bar,baz,foo"),
            ("(a|b)c", "ac,bc"),
            ("(?:web|db)-[0-2]", "db-0,db-1,db-2,web-0,web-1,web-2"),
            ("(?i)ok", "OK,Ok,oK,ok"),
            (r"10\.0\.0\.1:9100", "10.0.0.1:9100"),
            ("colou?r", "color,colour"),
            ("a|", ",a"),
            ("", ""),
        ] {
            let (exact, prefixes, _) = seen(pattern);
            // Classes of other letters: the Kelvin sign is a `k` to `(?i)`.
            let exact = exact.replace(",o\u{212a}", "").replace(",O\u{212a}", "");
            assert_eq!((exact.as_str(), prefixes.as_str()), (values, ""), "{pattern}");
            let none = Pattern::new(pattern).prefixes;
            assert!(none.is_empty(), "{pattern}: {none:?}");
        }
        let many: Vec<String> = (0..500).map(|number| format!("pod-{number}")).collect();
        assert_eq!(Pattern::new(&many.join("|")).exact.len(), 500);
    }

    #[test]
    fn open_ends_become_ranges() {
        assert_eq!(seen(".*"), expected("", "", Check::None));
        assert_eq!(seen("(.*)"), expected("", "", Check::None));
        assert_eq!(seen(".+"), expected("", "", Check::Longer));
        assert_eq!(seen("x.*"), expected("", "x", Check::None));
        assert_eq!(seen("(api|web)-.+?"), expected("", "api-,web-", Check::Longer));
        assert_eq!(seen("(a|ab|b).*"), expected("", "a,b", Check::None));
        assert_eq!(Pattern::new(".*").prefixes, [b""]);
    }

    #[test]
    fn other_expressions_are_checked() {
        assert_eq!(seen("x.*y"), expected("", "x", Check::Regex));
        assert_eq!(seen("x(?-s:.*)"), expected("", "x", Check::Regex));
        assert_eq!(seen("foo|x.*y|xx"), expected("foo", "x", Check::Regex));
        assert_eq!(seen("a$"), expected("", "a", Check::Regex));
        assert_eq!(seen(r"\bfoo"), expected("", "foo", Check::Regex));
        // These leave the parentheses that they are compiled in.
        for pattern in ["a)|(b", "a)|(?:b.*", ".*x", "[^a]"] {
            assert_eq!(Pattern::new(pattern), Pattern::scan(), "{pattern}");
        }
    }
}
