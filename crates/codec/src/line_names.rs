//! What line protocols call things, as names of metrics and labels; and the rules that take paths apart.

mod rules;

pub use rules::{Mapped, RuleError, Rules};

/// What becomes of names that Prometheus could not always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// Every character but letters, digits and `_` (in metric names `:` too) becomes `_`, and a digit in front gets one
    /// before it.
    #[default]
    Mapped,
    /// They stay as they are.
    Utf8,
}

/// Labels whose names begin so belong to whoever keeps them; a tag of such a name gets [`TAG`] in front.
const RESERVED: &str = "__";
const TAG: &str = "tag";

impl Names {
    /// Appends a metric's name.
    pub fn push_metric(self, out: &mut String, text: &str) {
        self.push(out, text, true);
    }

    /// Appends a label's name.
    pub fn push_label(self, out: &mut String, text: &str) {
        if text.starts_with(RESERVED) {
            out.push_str(TAG);
        }
        self.push(out, text, false);
    }

    fn push(self, out: &mut String, text: &str, metric: bool) {
        if self == Self::Utf8 {
            out.push_str(text);
            return;
        }
        if out.is_empty() && (text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit())) {
            out.push('_');
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':');
        out.extend(text.chars().map(|c| if plain(c) { c } else { '_' }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: Names, text: &str, metric: &str, label: &str) {
        let (mut of_metric, mut of_label) = (String::new(), String::new());
        names.push_metric(&mut of_metric, text);
        names.push_label(&mut of_label, text);
        assert_eq!((of_metric.as_str(), of_label.as_str()), (metric, label), "{text:?}");
    }

    #[test]
    fn names_become_what_prometheus_always_held() {
        check(Names::Mapped, "cpu.load-1", "cpu_load_1", "cpu_load_1");
        check(Names::Mapped, "a:b", "a:b", "a_b");
        check(Names::Mapped, "5xx", "_5xx", "_5xx");
        check(Names::Mapped, "größe", "gr__e", "gr__e");
        check(Names::Mapped, "", "_", "_");
        check(Names::Mapped, "__name__", "__name__", "tag__name__");
        check(Names::Utf8, "größe.5", "größe.5", "größe.5");
        check(Names::Utf8, "__name__", "__name__", "tag__name__");
    }
}
