//! StatsD and DogStatsD: `name:value|type|@rate|#tag:value,…|c:container|Ttimestamp`, one metric a line.
//!
//! Types: `c` counts, `g` gauges (`+` and `-` in front change what there was), `ms` times in milliseconds, `h` and `d`
//! distributions, `s` sets of different texts. A line may hold several values, `name:1:2:3|c`, but of a set, whose values
//! are any text. Events (`_e{…}`) and service checks (`_sc|…`) are no metrics; container ids and fields that are not known
//! are passed over.

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// Values of a metric.
    Metric(Metric<'a>),
    /// An event or a service check.
    Other,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// How often something happened since the last time.
    Counter,
    /// What something is.
    Gauge,
    /// How many milliseconds something took.
    Timer,
    /// What something was, many times over.
    Distribution,
    /// Which different things there were.
    Set,
}

/// A line that reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric<'a> {
    /// As it stands.
    pub name: &'a str,
    /// What is measured.
    pub kind: Kind,
    /// As they stand; [`Self::values`] takes them apart.
    values: &'a str,
    /// Share of what happened that was sent: above 0, at most 1.
    pub rate: f64,
    /// As they stand, `tag:value,tag`.
    pub raw_tags: &'a str,
    /// Seconds since the epoch, where the line says when.
    pub timestamp: Option<i64>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A number; never NaN nor infinite.
    Number(f64),
    /// By how much a gauge has changed.
    Change(f64),
    /// A member of a set.
    Member(&'a str),
}

/// How wrong lines are called.
const NO_NUMBER: &str = "a value is not a number";

impl<'a> Item<'a> {
    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub fn parse(line: &'a str) -> Result<Self, &'static str> {
        if line.starts_with("_e{") || line.starts_with("_sc|") {
            return Ok(Self::Other);
        }
        let (name, rest) = line.split_once(':').ok_or("there is no colon after the name")?;
        if name.is_empty() {
            return Err("the name is empty");
        }
        let mut fields = rest.split('|');
        let values = fields.next().unwrap_or_default();
        let kind = match fields.next().ok_or("there is no type")? {
            "c" => Kind::Counter,
            "g" => Kind::Gauge,
            "ms" => Kind::Timer,
            "h" | "d" => Kind::Distribution,
            "s" => Kind::Set,
            _ => return Err("the type is none of c, g, ms, h, d and s"),
        };
        let mut metric = Metric { name, kind, values, rate: 1.0, raw_tags: "", timestamp: None };
        for field in fields {
            if let Some(rate) = field.strip_prefix('@') {
                let rate = rate.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= 1.0);
                metric.rate = rate.ok_or("the sample rate is not above 0 and at most 1")?;
            } else if let Some(tags) = field.strip_prefix('#') {
                metric.raw_tags = tags;
            } else if let Some(time) = field.strip_prefix('T') {
                let time: i64 = time.parse().map_err(|_| "the timestamp is not a number of seconds")?;
                metric.timestamp = Some(time);
            }
        }
        for value in metric.values() {
            let speaks_for = match value? {
                // A gauge is what it is, at any rate.
                Value::Number(number) if kind != Kind::Gauge => number.abs().max(1.0) / metric.rate,
                _ => 0.0,
            };
            if !speaks_for.is_finite() {
                return Err("the sample rate makes more of a value than can be counted");
            }
        }
        Ok(Self::Metric(metric))
    }
}

impl<'a> Metric<'a> {
    /// The values in order; where [`Item::parse`] has read them, none is an error.
    pub fn values(&self) -> impl Iterator<Item = Result<Value<'a>, &'static str>> {
        let kind = self.kind;
        let several = kind != Kind::Set;
        let end = self.values.find(':').filter(|_| several).unwrap_or(self.values.len());
        let (first, rest) = self.values.split_at(end);
        let rest = rest.strip_prefix(':');
        std::iter::once(first).chain(rest.into_iter().flat_map(|rest| rest.split(':'))).map(move |text| {
            match kind {
                Kind::Set => Ok(Value::Member(text)),
                _ => {
                    let number: f64 = text.parse().map_err(|_| NO_NUMBER)?;
                    let finite = Some(number).filter(|number| number.is_finite()).ok_or(NO_NUMBER)?;
                    Ok(match kind {
                        Kind::Gauge if text.starts_with(['+', '-']) => Value::Change(finite),
                        _ => Value::Number(finite),
                    })
                }
            }
        })
    }

    /// Names and values of the tags, in the order of the line; a tag without a value is `true`.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let tags = self.raw_tags.split(',').filter(|tag| !tag.is_empty());
        tags.map(|tag| tag.split_once(':').unwrap_or((tag, "true")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metric(line: &str) -> Metric<'_> {
        match Item::parse(line) {
            Ok(Item::Metric(metric)) => metric,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn check(line: &str, name: &str, kind: Kind, values: &[Value<'_>]) {
        let read = metric(line);
        assert_eq!((read.name, read.kind), (name, kind), "{line}");
        assert_eq!(read.values().collect::<Result<Vec<_>, _>>().unwrap(), values, "{line}");
    }

    #[test]
    fn metrics_read() {
        check("gorets:1|c", "gorets", Kind::Counter, &[Value::Number(1.0)]);
        check("gorets:1|c|@0.1", "gorets", Kind::Counter, &[Value::Number(1.0)]);
        check("glork:320|ms|@0.1", "glork", Kind::Timer, &[Value::Number(320.0)]);
        check("gaugor:333|g", "gaugor", Kind::Gauge, &[Value::Number(333.0)]);
        check("gaugor:-10|g", "gaugor", Kind::Gauge, &[Value::Change(-10.0)]);
        check("gaugor:+4|g", "gaugor", Kind::Gauge, &[Value::Change(4.0)]);
        check("uniques:a:b|s", "uniques", Kind::Set, &[Value::Member("a:b")]);
        check("page.views:1:2:32|d", "page.views", Kind::Distribution, &[1.0, 2.0, 32.0].map(Value::Number));
        check("song.length:240.5|h|@0.5", "song.length", Kind::Distribution, &[Value::Number(240.5)]);
        assert_eq!(metric("gorets:1|c|@0.1").rate, 0.1);
    }

    #[test]
    fn extensions_read() {
        let read = metric("page.views:1|g|#env:dev,alone,url:a:b|c:83c0a9|T1656581400|e:it-false");
        assert_eq!(read.timestamp, Some(1_656_581_400));
        let tags: Vec<_> = read.tags().collect();
        assert_eq!(tags, [("env", "dev"), ("alone", "true"), ("url", "a:b")]);
        assert_eq!(metric("a:1|c|#|@1").tags().count(), 0);
        assert_eq!(Item::parse("_e{21,36}:An exception occurred|Cannot parse|t:warning"), Ok(Item::Other));
        assert_eq!(Item::parse("_sc|Redis connection|2|#env:dev"), Ok(Item::Other));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, problem) in [
            ("", "there is no colon after the name"),
            ("a", "there is no colon after the name"),
            (":1|c", "the name is empty"),
            ("a:1", "there is no type"),
            ("a:1|x", "the type is none of c, g, ms, h, d and s"),
            ("a:x|c", NO_NUMBER),
            ("a:|c", NO_NUMBER),
            ("a:1:|c", NO_NUMBER),
            ("a:nan|g", NO_NUMBER),
            ("a:inf|ms", NO_NUMBER),
            ("a:1|c|@0", "the sample rate is not above 0 and at most 1"),
            ("a:1|c|@2", "the sample rate is not above 0 and at most 1"),
            ("a:1|c|@nan", "the sample rate is not above 0 and at most 1"),
            ("a:1e10|c|@1e-300", "the sample rate makes more of a value than can be counted"),
            ("a:0|ms|@1e-310", "the sample rate makes more of a value than can be counted"),
            ("a:1|c|Tsoon", "the timestamp is not a number of seconds"),
        ] {
            assert_eq!(Item::parse(line), Err(problem), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(line in "\\PC{0,100}") {
            let _ = Item::parse(&line);
        }

        #[test]
        fn no_rate_makes_a_value_infinite(value in 0f64..f64::MAX, rate in 0..400, kind in "c|ms|h|d") {
            if let Ok(Item::Metric(metric)) = Item::parse(&format!("a:{value:e}|{kind}|@1e-{rate}")) {
                prop_assert!((value / metric.rate).is_finite() && (1.0 / metric.rate).is_finite());
            }
        }

        #[test]
        fn nothing_like_a_line_makes_it_panic(line in "[a-d]{0,2}:[0-9:.+-]{0,8}\\|(c|g|ms|h|d|s)[|@#T:,a0-9.-]{0,20}") {
            if let Ok(Item::Metric(metric)) = Item::parse(&line) {
                prop_assert!(metric.rate > 0.0 && metric.rate <= 1.0);
                prop_assert!(metric.values().all(|value| value.is_ok()));
                prop_assert!(metric.values().count() >= 1);
                let _ = metric.tags().count();
            }
        }
    }
}
