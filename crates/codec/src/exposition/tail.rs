//! The rest of a line whose series is known by its text.

use metricsd_model::Millis;

use super::{Exemplar, Format, number, parser, scan};

/// What follows a series on its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail<'p> {
    /// Value.
    pub value: f64,
    /// Where the line has one.
    pub timestamp: Option<Millis>,
    /// Where the line has one; OpenMetrics only.
    pub exemplar: Option<Exemplar<'p>>,
    /// Where the next line starts.
    pub next: usize,
}

/// Reads the rest of a sample's line from `at`, the byte after its series. Says the same as [`super::Parser`] would of
/// the whole line; `None` where that finds a fault, and the parser has to say which.
#[inline]
pub fn read_tail(page: &[u8], at: usize, format: Format) -> Option<Tail<'_>> {
    if page.get(at) == Some(&b' ')
        && let Some((value, length)) = page.get(at + 1..).and_then(number::short_decimal_line)
    {
        return Some(Tail { value, timestamp: None, exemplar: None, next: at + 1 + length });
    }
    any_tail(page, at, format)
}

fn any_tail(page: &[u8], at: usize, format: Format) -> Option<Tail<'_>> {
    let rest = page.get(at..)?;
    let (line, next) = match memchr::memchr(b'\n', rest) {
        Some(length) => (&rest[..length], at + length + 1),
        None => (rest, page.len()),
    };
    let line = std::str::from_utf8(line).ok()?;
    let (value, timestamp, exemplar) = match format {
        Format::Text => {
            let (value, timestamp) = parser::text_tail(line, scan::skip_blanks(line.as_bytes(), 0)).ok()?;
            (value, timestamp, None)
        }
        Format::OpenMetrics => parser::open_metrics_tail(line, 0).ok()?,
        Format::Protobuf => return None,
    };
    Some(Tail { value, timestamp, exemplar, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Entry, Parser};
    use proptest::prelude::*;

    /// The parser's answer to the first line of a page.
    fn parsed(page: &[u8], format: Format) -> Option<(u64, Option<Millis>)> {
        match Parser::new(page, format).next_entry() {
            Ok(Some(Entry::Sample(sample))) => Some((sample.value.to_bits(), sample.timestamp)),
            _ => None,
        }
    }

    fn check(rest: &str, format: Format) {
        for series in ["a", "a{x=\"1\"}"] {
            let page = format!("{series}{rest}");
            // Without a blank what follows a bare name would be part of it.
            if series == "a" && !rest.starts_with([' ', '\t']) {
                continue;
            }
            let tail = read_tail(page.as_bytes(), series.len(), format);
            let expected = parsed(page.as_bytes(), format);
            assert_eq!(
                tail.as_ref().map(|tail| (tail.value.to_bits(), tail.timestamp)),
                expected,
                "{page:?} {format:?}"
            );
            let line = page.find('\n').map_or(page.len(), |end| end + 1);
            assert!(tail.as_ref().is_none_or(|tail| tail.next == line), "{page:?}: {tail:?}");
        }
    }

    #[test]
    fn tails_read_as_the_whole_line_does() {
        let values = [
            "0",
            "-0",
            "+0",
            "7",
            "-12.5",
            "1.",
            ".5",
            "-.5",
            "",
            "-",
            ".",
            "1e400",
            "-1e400",
            "1e-400",
            "0x10",
            "NaN",
            "+NaN",
            "-Inf",
            "inf",
            "9007199254740993",
            "12345678901234567890",
            "123456789012345678901.5",
            "0.1234567890123456789",
            "1.5e3",
            "1_0",
            "1,5",
            "1.2.3",
            "--1",
        ];
        let after = [
            "",
            "\n",
            " \n",
            "\r\n",
            " 5\n",
            " 5 \n",
            " 1.5\n",
            " # {a=\"b\"} 1\n",
            " 5 # {a=\"b\"} 1 2\n",
            " x\n",
            "\nb 2\n",
        ];
        for format in [Format::Text, Format::OpenMetrics] {
            for value in values {
                for (blank, after) in [" ", "", "  ", "\t"].into_iter().flat_map(|b| after.map(|a| (b, a))) {
                    check(&format!("{blank}{value}{after}"), format);
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_left_to_the_parser() {
        assert_eq!(read_tail(b"a 1 \xff\n", 1, Format::Text), None);
        assert_eq!(read_tail(b"a", 1, Format::Text), None);
        assert_eq!(read_tail(b"a", 9, Format::Text), None);
    }

    proptest! {
        #[test]
        fn any_number_reads_as_the_whole_line_does(bits: u64, decimals in 0usize..12, scale in 0i32..18) {
            let value = f64::from_bits(bits);
            let short = (bits % 1_000_000_000_000_000_000) as f64 / 10f64.powi(scale);
            for text in [value.to_string(), format!("{value:e}"), format!("{short:.decimals$}"), (bits as i64).to_string()] {
                check(&format!(" {text}\n"), Format::Text);
                check(&format!(" {text}\n"), Format::OpenMetrics);
            }
        }

        #[test]
        fn any_text_reads_as_the_whole_line_does(rest in "[ \\t]?[-+]?[0-9.eEINnaf]{0,24}[ 0-9.#{}\"=a-c]{0,12}\n?") {
            check(&rest, Format::Text);
            check(&rest, Format::OpenMetrics);
        }
    }
}
