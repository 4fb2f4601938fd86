//! What standard output is.

use std::io::{self, IsTerminal};

use terminal_size::{Width, terminal_size_of};

use crate::cli::Environment;

/// Columns where nobody says.
const DEFAULT_WIDTH: usize = 80;

/// What standard output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    /// Whether it is a terminal.
    pub(super) terminal: bool,
    /// In columns.
    pub(super) width: usize,
    /// Whether colours are wanted.
    pub(super) colours: bool,
}

impl Screen {
    /// Looks.
    pub(super) fn look(environment: &Environment) -> Self {
        let size = terminal_size_of(io::stdout());
        Self::of(io::stdout().is_terminal(), size.map(|(Width(width), _)| usize::from(width)), environment)
    }

    /// `NO_COLOR` with any value, or a terminal that can do nothing, mean no colours.
    fn of(terminal: bool, width: Option<usize>, environment: &Environment) -> Self {
        let unwanted = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        // A terminal that does not know its size says 0.
        let width = width.filter(|width| terminal && *width > 0).unwrap_or(DEFAULT_WIDTH);
        Self { terminal, width, colours: terminal && !unwanted && !dumb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let check = |terminal: bool, variables: &[(&str, &str)], expected: bool| {
            let environment =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(Screen::of(terminal, Some(100), &environment).colours, expected, "{variables:?}");
        };
        check(true, &[], true);
        check(true, &[("NO_COLOR", ""), ("TERM", "xterm")], true);
        check(true, &[("NO_COLOR", "1")], false);
        check(true, &[("TERM", "dumb")], false);
        check(false, &[], false);
    }

    #[test]
    fn the_width_is_the_terminals() {
        let width = |terminal, width| Screen::of(terminal, width, &Environment::new()).width;
        assert_eq!(width(true, Some(120)), 120);
        assert_eq!(width(true, Some(0)), 80);
        assert_eq!(width(true, None), 80);
        assert_eq!(width(false, Some(120)), 80);
    }
}
