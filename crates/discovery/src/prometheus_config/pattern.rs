//! Patterns of one part of a path: `*`, `?` and `[a-z]`.

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Exactly(char),
    Any,
    Many,
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Whether a text is more than a name.
    pub(super) fn has_wildcards(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    /// Reads a pattern.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut rest = text.chars();
        let mut pieces = Vec::new();
        while let Some(next) = rest.next() {
            pieces.push(match next {
                '*' if matches!(pieces.last(), Some(Piece::Many)) => continue,
                '*' => Piece::Many,
                '?' => Piece::Any,
                '[' => {
                    set(&mut rest).ok_or_else(|| format!("the pattern {text:?} has a [ that does not end"))?
                }
                '\\' => {
                    Piece::Exactly(rest.next().ok_or_else(|| format!("the pattern {text:?} ends in \\"))?)
                }
                other => Piece::Exactly(other),
            });
        }
        Ok(Self(pieces))
    }

    /// Whether it fits the whole of a name.
    pub(super) fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // Where the last `*` is, and how far it reaches: only that one needs to be tried again.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(piece) {
                Some(Piece::Many) => {
                    star = Some((piece, at));
                    piece += 1;
                }
                Some(one) if one.is(name.get(at).copied()) => {
                    piece += 1;
                    at += 1;
                }
                _ => {
                    let Some((of, reach)) = star else { return false };
                    star = Some((of, reach + 1));
                    (piece, at) = (of + 1, reach + 1);
                }
            }
        }
        self.0.iter().skip(piece).all(|piece| matches!(piece, Piece::Many))
    }
}

impl Piece {
    fn is(&self, character: Option<char>) -> bool {
        let Some(character) = character else { return false };
        match self {
            Self::Exactly(one) => *one == character,
            Self::Any => true,
            Self::Many => false,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&character)) != *negated
            }
        }
    }
}

/// What stands between `[` and `]`.
fn set(rest: &mut std::str::Chars<'_>) -> Option<Piece> {
    let mut characters = Vec::new();
    let mut next = rest.next()?;
    let negated = next == '^';
    if negated {
        next = rest.next()?;
    }
    while next != ']' || characters.is_empty() {
        characters.push(if next == '\\' { rest.next()? } else { next });
        next = rest.next()?;
    }
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(first) = characters.get(from) {
        match (characters.get(from + 1), characters.get(from + 2)) {
            (Some('-'), Some(last)) => {
                ranges.push((*first, *last));
                from += 3;
            }
            _ => {
                ranges.push((*first, *first));
                from += 1;
            }
        }
    }
    Some(Piece::Set { negated, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).unwrap().fits(name), expected, "{pattern} {name}");
        };
        check("*.yml", "a.yml", true);
        check("*.yml", "a.yml.bak", false);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b*", "xxbxxaxx", false);
        check("job-?.yml", "job-1.yml", true);
        check("job-?.yml", "job-12.yml", false);
        check("[a-c]*", "beta", true);
        check("[^a-c]*", "beta", false);
        check("[]x]", "]", true);
        check("\\*", "*", true);
        check("\\*", "x", false);
        check("**", "", true);
        check("größe*", "größe.yml", true);
        assert!(Pattern::new("[a").is_err() && Pattern::new("a\\").is_err());
    }
}
