//! What a script expects of warnings, infos and failures.

/// A text that a message must have.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// The whole message; its place and its `PromQL warning: ` may be left out.
    Message(String),
    /// Found somewhere in the message.
    Regex(regex::Regex),
}

impl Pattern {
    /// Reads `msg: …` or `regex: …`; nothing stands for any message.
    pub fn read(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(message) = text.strip_prefix("msg:") {
            return Ok(Some(Self::Message(message.trim().to_owned())));
        }
        let pattern =
            text.strip_prefix("regex:").ok_or_else(|| format!("expected msg: or regex: at {text:?}"))?;
        let regex = regex::Regex::new(pattern.trim()).map_err(|error| error.to_string())?;
        Ok(Some(Self::Regex(regex)))
    }

    /// Whether a message is the expected one.
    pub fn matches(&self, message: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(message),
            Self::Message(expected) => {
                let unplaced = without_place(message);
                let bare = |text: &'_ str| text.split_once(": ").map(|(_, bare)| bare.to_owned());
                [message, unplaced].contains(&expected.as_str())
                    || bare(unplaced).as_ref() == Some(expected)
                    || bare(message).as_ref() == Some(expected)
            }
        }
    }
}

/// A message without the ` (line:column)` at its end.
fn without_place(message: &str) -> &str {
    match message.rsplit_once(" (") {
        Some((text, place)) if place.ends_with(')') && place.contains(':') => text,
        _ => message,
    }
}

/// What is expected of the warnings or of the infos of a query.
#[derive(Debug, Clone, Default)]
pub struct Remarks {
    /// There must be some.
    pub some: bool,
    /// Each must match one remark, and each remark one of them; none: any will do.
    pub patterns: Vec<Pattern>,
}

impl Remarks {
    /// Adds an `expect warn …`.
    pub fn expect(&mut self, pattern: Option<Pattern>) {
        self.some = true;
        self.patterns.extend(pattern);
    }

    /// Says what differs.
    pub fn check(&self, kind: &str, got: &[String]) -> Result<(), String> {
        if !self.some {
            return if got.is_empty() { Ok(()) } else { Err(format!("unexpected {kind}: {got:?}")) };
        }
        if got.is_empty() {
            return Err(format!("expected {kind}, got none"));
        }
        let missing = self.patterns.iter().find(|pattern| !got.iter().any(|got| pattern.matches(got)));
        if let Some(missing) = missing {
            return Err(format!("expected {kind} {missing:?}, got {got:?}"));
        }
        let other = got.iter().find(|got| !self.patterns.iter().any(|pattern| pattern.matches(got)));
        match other {
            Some(other) if !self.patterns.is_empty() => Err(format!("unexpected {kind}: {other:?}")),
            _ => Ok(()),
        }
    }
}
