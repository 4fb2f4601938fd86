//! RE2's dialect of regular expressions, in which rules are written, in terms of the `regex` crate's.
//!
//! The two differ in little (RE2's documentation, "Syntax"; the `regex` crate's, "Syntax"):
//!
//! * `\d`, `\s`, `\w` and `\b` are about ASCII in RE2.
//! * `\Q…\E` quotes; `\<`, `\>` and other escaped punctuation stand for themselves.
//! * A brace that begins no repetition stands for itself; `{,n}` is none.
//! * Inside of a class `[`, `&&` and `~~` have no meaning.
//!
//! What RE2 refuses is not looked for: a few patterns more than RE2's are accepted.

use std::iter::Peekable;
use std::str::Chars;

/// Writes a pattern of RE2's dialect in the `regex` crate's.
pub fn from_re2(pattern: &str) -> String {
    let mut translator = Translator { chars: pattern.chars().peekable(), out: String::new() };
    translator.run();
    translator.out
}

struct Translator<'p> {
    chars: Peekable<Chars<'p>>,
    out: String,
}

impl Translator<'_> {
    fn run(&mut self) {
        while let Some(next) = self.chars.next() {
            match next {
                '\\' => self.escape(false),
                '[' => self.class(),
                '{' if !self.begins_repetition() => self.out.push_str("\\{"),
                other => self.out.push(other),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) {
        let Some(next) = self.chars.next() else {
            return self.out.push('\\');
        };
        match next {
            'd' => self.perl(in_class, "[0-9]"),
            'D' => self.perl(in_class, "[^0-9]"),
            's' => self.perl(in_class, "[\\t\\n\\f\\r ]"),
            'S' => self.perl(in_class, "[^\\t\\n\\f\\r ]"),
            'w' => self.perl(in_class, "[0-9A-Za-z_]"),
            'W' => self.perl(in_class, "[^0-9A-Za-z_]"),
            'b' if !in_class => self.out.push_str("(?-u:\\b)"),
            'B' if !in_class => self.out.push_str("(?-u:\\B)"),
            'Q' if !in_class => self.quoted(),
            'p' | 'P' | 'x' => {
                self.out.extend(['\\', next]);
                self.braces();
            }
            '<' | '>' => self.out.push(next),
            _ => self.out.extend(['\\', next]),
        }
    }

    /// A class of ASCII characters; letters in it are both cases already.
    fn perl(&mut self, in_class: bool, class: &str) {
        match in_class {
            true => self.out.push_str(class),
            false => self.out.extend(["(?-i:", class, ")"]),
        }
    }

    /// Takes over `{…}`, if that is next.
    fn braces(&mut self) {
        if self.chars.next_if_eq(&'{').is_none() {
            return;
        }
        self.out.push('{');
        for next in self.chars.by_ref() {
            self.out.push(next);
            if next == '}' {
                break;
            }
        }
    }

    /// Everything up to `\E`, or to the end.
    fn quoted(&mut self) {
        while let Some(next) = self.chars.next() {
            if next == '\\' && self.chars.next_if_eq(&'E').is_some() {
                break;
            }
            self.literal(next);
        }
    }

    fn literal(&mut self, next: char) {
        if next.is_ascii_punctuation() {
            self.out.push('\\');
        }
        self.out.push(next);
    }

    /// After `[`, up to the `]` that closes the class.
    fn class(&mut self) {
        self.out.push('[');
        if self.chars.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        // Right at the beginning it stands for itself.
        if self.chars.next_if_eq(&']').is_some() {
            self.out.push_str("\\]");
        }
        while let Some(next) = self.chars.next() {
            match next {
                ']' => return self.out.push(']'),
                '\\' => self.escape(true),
                '[' if self.chars.peek() == Some(&':') => self.named_class(),
                '[' | '&' | '~' => self.literal(next),
                other => self.out.push(other),
            }
        }
    }

    /// After the `[` of `[:name:]`; only a bracket where no such thing follows.
    fn named_class(&mut self) {
        let rest: String = self.chars.clone().collect();
        let name = rest.strip_prefix(':').and_then(|rest| rest.split_once(":]")).map(|(name, _)| name);
        let Some(name) = name.filter(|name| name.chars().all(|c| c == '^' || c.is_ascii_alphabetic())) else {
            return self.literal('[');
        };
        self.out.extend(["[:", name, ":]"]);
        // Names are ASCII: characters are bytes.
        for _ in 0..name.len() + 3 {
            self.chars.next();
        }
    }

    /// Whether `n}`, `n,}` or `n,m}` follows.
    fn begins_repetition(&self) -> bool {
        let mut rest = self.chars.clone();
        let mut digits = 0;
        let mut commas = 0;
        loop {
            match rest.next() {
                Some('0'..='9') => digits += 1,
                Some(',') if digits > 0 && commas == 0 => commas += 1,
                Some('}') => return digits > 0,
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_re2() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let translated = from_re2(pattern);
            let regex = regex::Regex::new(&format!("^(?s:{translated})$"));
            let regex = regex.unwrap_or_else(|error| panic!("{pattern} as {translated}: {error}"));
            for (texts, expected) in [(yes, true), (no, false)] {
                for text in texts {
                    assert_eq!(regex.is_match(text), expected, "{pattern} as {translated} on {text:?}");
                }
            }
        };
        check(r"\d+", &["0189"], &["٣", "", "a"]);
        check(r"\D", &["a", "٣", "\n"], &["5"]);
        check(r"\w+\W", &["aZ_9-", "a\u{e9}"], &["é-", "a"]);
        check(r"(?i)\w", &["k", "K"], &["\u{212a}"]);
        check(r"\s\S", &["\ta", " \u{b}", " \u{a0}"], &["\u{a0}a", "  "]);
        check(r"[\d\s_]+[^\w]", &["1 _-", "2é"], &["1a", "٣-"]);
        check(r"[\D]", &["a"], &["1"]);
        check(r"a\b.b\B.", &["a-bc"], &["a_bc"]);
        check(r"a\bé", &["aé"], &[]);
        check(r"\Qa.b*\E.c", &["a.b*-c"], &["axb*-c"]);
        check(r"\Q[a", &["[a"], &["a"]);
        check(r"\<a\>\-\/\:", &["<a>-/:"], &["a-/:"]);
        check("a{2}", &["aa"], &["a{2}"]);
        check("a{2,}b{1,2}", &["aaabb"], &["ab"]);
        check("a{,2}", &["a{,2}"], &["aa", ""]);
        check("{a}-{}-{1", &["{a}-{}-{1"], &[]);
        check("[[]", &["["], &["a"]);
        check("[a&&b]+", &["a&b"], &["c"]);
        check("[a~~b]+", &["~a"], &["c"]);
        check("[]a]+", &["]a"], &["["]);
        check("[^]a]+", &["[b"], &["]", "a"]);
        check("[[:alpha:]_]+[[:^digit:]]", &["aB_x"], &["a1", "é!"]);
        check("[[:x]+", &["[x:"], &["y"]);
        check(r"\pL\p{Greek}\x{e9}\x41", &["éαéA"], &["1αéA"]);
        check(r"[\p{Lu}\x{e9}\]]+", &["Éé]"], &["e"]);
        check("a.b", &["a\nb"], &[]);
        check("(?P<x>a)(?:b)(?i:C)", &["abc", "abC"], &["ABC"]);
        check(r"^a$", &["a"], &["a\n"]);
    }

    #[test]
    fn faults_stay_faults() {
        for pattern in ["(", "[", "[a", "\\", "a)", "*", r"\C", r"\p{Nothing}", "(?P<n>"] {
            let translated = from_re2(pattern);
            let built = regex::Regex::new(&translated);
            assert!(built.is_err(), "{pattern} as {translated}");
        }
    }
}
