//! Reads `metric{a="b", "utf.8"="c"}` and quoted texts.

use metricsd_model::LabelSet;

/// Reads a label set at the beginning of `text`; answers it and what follows it.
pub fn read(text: &str) -> Result<(LabelSet, &str), String> {
    let mut pairs = Vec::new();
    let name_end = end_of_name(text, true);
    if name_end > 0 {
        pairs.push(("__name__".to_owned(), text[..name_end].to_owned()));
    }
    let mut rest = &text[name_end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = read_pairs(inside, &mut pairs)?;
    } else if name_end == 0 {
        return Err(format!("expected a series at {text:?}"));
    }
    let labels = LabelSet::new(pairs).map_err(|error| error.to_string())?;
    Ok((labels, rest))
}

/// Reads pairs up to and with the closing brace.
fn read_pairs<'a>(text: &'a str, pairs: &mut Vec<(String, String)>) -> Result<&'a str, String> {
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (name, after) = if rest.starts_with(['"', '\'', '`']) {
            quoted(rest)?
        } else {
            let end = end_of_name(rest, false);
            (rest[..end].to_owned(), &rest[end..])
        };
        let after = after.trim_start();
        rest = if let Some(value) = after.strip_prefix('=') {
            let (value, after) = quoted(value.trim_start())?;
            pairs.push((name, value));
            after.trim_start()
        } else {
            pairs.push(("__name__".to_owned(), name));
            after
        };
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return Err(format!("expected a comma or a brace at {rest:?}")),
        };
    }
}

fn end_of_name(text: &str, colons: bool) -> usize {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { end }
}

/// Reads a quoted text at the beginning of `text`; answers it and what follows it.
pub fn quoted(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|c| ['"', '\'', '`'].contains(c));
    let quote = quote.ok_or_else(|| format!("expected a quoted text at {text:?}"))?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((out, &text[at + 1..])),
            '\\' if quote != '`' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    Err(format!("no closing quote in {text:?}"))
}
