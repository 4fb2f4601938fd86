//! Shows where in an expression an error is.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of the expression that are shown on both sides of the place.
const AROUND: usize = 36;
/// How far the expression is set in.
const INDENT: &str = "  ";

/// What the API puts before an error of the expression itself.
const PARAMETER: &str = "invalid parameter \"query\": ";

/// A message, and under it the line of the expression and a caret where the message names a place of it.
pub(super) fn with_place(message: &str, expression: &str) -> String {
    let message = message.strip_prefix(PARAMETER).unwrap_or(message);
    match place(message).and_then(|(line, column)| pointed(expression, line, column)) {
        Some(shown) => format!("{message}\n{shown}"),
        None => message.to_owned(),
    }
}

/// Line and column of a message that begins with them, both from 1.
fn place(message: &str) -> Option<(usize, usize)> {
    let mut parts = message.splitn(3, ':');
    let (line, column) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    // Without a colon behind it, the second number is no column.
    parts.next().map(|_| (line, column))
}

/// The line and a caret under its column, which counts bytes.
fn pointed(expression: &str, line: usize, column: usize) -> Option<String> {
    let line = expression.split('\n').nth(line.checked_sub(1)?)?;
    let at = floor_boundary(line, column.checked_sub(1)?);
    let (before, after) = line.split_at(at);
    let before = shown(before.chars().rev()).chars().rev().collect::<String>();
    let after = shown(after.chars());
    let caret = " ".repeat(before.width());
    Some(format!("{INDENT}{before}{after}\n{INDENT}{caret}^"))
}

/// As much of a text as there is room for, with an ellipsis where something is left out.
fn shown(text: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    let mut width = 0;
    for character in text {
        // Tabs and other control characters are as wide as the terminal likes.
        let character = if character.is_control() { ' ' } else { character };
        width += character.width().unwrap_or(0);
        if width > AROUND {
            out.push('…');
            break;
        }
        out.push(character);
    }
    out
}

/// The end of the text, or the beginning of the character that this byte is of.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_under_the_place() {
        let check = |message: &str, expression: &str, expected: &str| {
            assert_eq!(with_place(message, expression), expected);
        };
        check(
            "invalid parameter \"query\": 1:6: parse error: unexpected \")\"",
            "rate()",
            "1:6: parse error: unexpected \")\"\n  rate()\n       ^",
        );
        check("2:2: wrong", "a +\n\t* b", "2:2: wrong\n   * b\n   ^");
        // Bytes are counted, columns are shown; the end of the text is a place as well.
        check("1:13: end", "{\"größe\"} +", "1:13: end\n  {\"größe\"} +\n            ^");
        check("1:9: middle", "\"größe\"", "1:9: middle\n  \"größe\"\n        ^");
        check("1:5: wide", "\"日\"x", "1:5: wide\n  \"日\"x\n     ^");
        check("1:99: past", "up", "1:99: past\n  up\n    ^");
        for without in
            ["the store is away", "7:1: no such line", "0:0: nowhere", "1:5", "at 10:30: late", "a:b:c"]
        {
            check(without, "up", without);
        }
        let long = format!("{}!{}", "a".repeat(100), "b".repeat(100));
        let (a, b) = ("a".repeat(36), "b".repeat(35));
        check("1:101: here", &long, &format!("1:101: here\n  …{a}!{b}…\n{}^", " ".repeat(39)));
    }
}
