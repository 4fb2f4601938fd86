//! Good pages and bad ones, line by line.

use super::*;

/// A page as one line of text an entry: short to write, easy to compare.
fn read(page: &[u8], format: Format) -> Result<Vec<String>, ParseError> {
    let mut parser = Parser::new(page, format);
    let mut lines = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        lines.push(match entry {
            Entry::Help { name, text } => format!("help {name}: {}", unescape_help(text)),
            Entry::Type { name, kind } => format!("type {name}: {kind:?}"),
            Entry::Unit { name, unit } => format!("unit {name}: {unit}"),
            Entry::Sample(sample) => show(&sample),
        });
    }
    Ok(lines)
}

fn show(sample: &SampleLine<'_>) -> String {
    let mut text = format!("{} = {}", sample.series, sample.value);
    if let Some(timestamp) = sample.timestamp {
        text += &format!(" at {timestamp}");
    }
    if let Some(exemplar) = &sample.exemplar {
        text += &format!(" # {} = {}", exemplar.labels, exemplar.value);
        if let Some(timestamp) = exemplar.timestamp {
            text += &format!(" at {timestamp}");
        }
    }
    text
}

#[track_caller]
fn check(format: Format, page: &str, expected: &[&str]) {
    assert_eq!(read(page.as_bytes(), format).unwrap(), expected, "{page:?}");
}

#[track_caller]
fn check_err(format: Format, page: impl AsRef<[u8]>, line: usize, part: &str) {
    let error = read(page.as_ref(), format).unwrap_err();
    assert_eq!(error.line, line, "{error}");
    assert!(error.message.contains(part), "{error}");
}

#[track_caller]
fn text(page: &str, expected: &[&str]) {
    check(Format::Text, page, expected);
}

#[track_caller]
fn text_err(page: &str, line: usize, part: &str) {
    check_err(Format::Text, page, line, part);
}

/// The body without its `# EOF`, which is added.
#[track_caller]
fn om(body: &str, expected: &[&str]) {
    check(Format::OpenMetrics, &format!("{body}# EOF\n"), expected);
}

#[track_caller]
fn om_err(page: &str, line: usize, part: &str) {
    check_err(Format::OpenMetrics, page, line, part);
}

#[test]
fn text_samples() {
    text("", &[]);
    text("up 1\n", &["up = 1"]);
    text("up 1", &["up = 1"]);
    text("up{} 1\n", &["up{} = 1"]);
    text("a_b:c9 12.47\n", &["a_b:c9 = 12.47"]);
    text(
        "a 1 1395066363000\nb -2.5e-3 -5\nc 3 +7\n",
        &["a = 1 at 1395066363000", "b = -0.0025 at -5", "c = 3 at 7"],
    );
    text("a Inf\nb +Inf\nc -inf\nd NaN\n", &["a = inf", "b = inf", "c = -inf", "d = NaN"]);
    text(r#"a{b="c",d="e"} 1"#, &[r#"a{b="c",d="e"} = 1"#]);
    text(r#"a{b="c",} 1"#, &[r#"a{b="c",} = 1"#]);
    text(r#"a{b="C:\\D\nE\"F"} 1"#, &[r#"a{b="C:\\D\nE\"F"} = 1"#]);
    text(r#"a{b="} 2"} 1"#, &[r#"a{b="} 2"} = 1"#]);
    text(r#"{"a.b","c.d"="e"} 1"#, &[r#"{"a.b","c.d"="e"} = 1"#]);
    text(r#"{"ü"} 1"#, &[r#"{"ü"} = 1"#]);
}

#[test]
fn text_whitespace() {
    text("\n  \n\t\n a 1 \n", &["a = 1"]);
    text("\ta\t \t1\t2\t\n", &["a = 1 at 2"]);
    text("a { b = \"c\"\t, d = \"e\" , } 1\n", &["a { b = \"c\"\t, d = \"e\" , } = 1"]);
    text("a{b=\"c\"}1\n", &["a{b=\"c\"} = 1"]);
    text("{ \"a\" , b = \"c\" } 1\n", &["{ \"a\" , b = \"c\" } = 1"]);
}

#[test]
fn text_metadata() {
    text("# HELP a Some  text. \n", &["help a: Some  text."]);
    text("# HELP a\n# HELP b \n", &["help a: ", "help b: "]);
    text("#\tHELP\ta\tx\\\\y\\nz \"q\"\n", &["help a: x\\y\nz \"q\""]);
    text("# HELP \"a b\" x\n# TYPE \"a\\\"b\" gauge\n", &["help a b: x", "type a\"b: Gauge"]);
    text("  #  TYPE  a  counter  \n", &["type a: Counter"]);
    text(
        "# TYPE a gauge\n# TYPE b histogram\n# TYPE c summary\n# TYPE d untyped\n",
        &["type a: Gauge", "type b: Histogram", "type c: Summary", "type d: Unknown"],
    );
    text("# HELP\n #\tTYPE\na 1\n# TYPE", &["a = 1"]);
    text("# a comment\n#\n##\n# HELPa b\n#TYPE a what\n# UNIT a b c\n# EOF\nafter 1\n", &["after = 1"]);
}

#[test]
fn bad_text() {
    text_err("a 1\nb\n", 2, "expected a blank and a value");
    text_err("a \n", 1, "expected a value");
    text_err("a{} \n", 1, "expected a value");
    text_err("\n\n1a 1\n", 3, "expected a metric name at column 1, near \"1a 1\"");
    text_err("a-b 1\n", 1, "expected a blank and a value");
    text_err("é 1\n", 1, "expected a metric name");
    text_err("a x\n", 1, "expected a value at column 3");
    text_err("a 0x1p3\n", 1, "expected a value");
    text_err("a 1_0\n", 1, "expected a value");
    text_err("a 1e999\n", 1, "expected a value");
    text_err("a 1 1.5\n", 1, "expected a timestamp in whole milliseconds");
    text_err("a 1 99999999999999999999\n", 1, "expected a timestamp");
    text_err("a 1 2 3\n", 1, "expected nothing after the timestamp");
    text_err("a 1 # {b=\"c\"} 1\n", 1, "expected a timestamp");
    text_err("a{b} 1\n", 1, "expected \"=\"");
    text_err("a{b=c} 1\n", 1, "label value in double quotes");
    text_err("a{b='c'} 1\n", 1, "label value in double quotes");
    text_err("a{b=\"c} 1\n", 1, "expected a closing double quote");
    text_err("a{b=\"c\nd\"} 1\n", 1, "expected a closing double quote");
    text_err("a{b=\"c\\\n\"} 1\n", 1, "expected a closing double quote");
    text_err("a{b=\"c\" d=\"e\"} 1\n", 1, "expected \",\" or \"}\"");
    text_err("a{b=\"c\"\n", 1, "expected \",\" or \"}\"");
    text_err("a{,} 1\n", 1, "expected a label name");
    text_err("a{b=\"c\",,} 1\n", 1, "expected a label name");
    text_err("a{1b=\"c\"} 1\n", 1, "expected a label name");
    text_err("a{b:c=\"d\"} 1\n", 1, "expected \"=\"");
    text_err("{} 1\n", 1, "expected a metric name");
    text_err("{a=\"b\"} 1\n", 1, "expected a metric name");
    text_err("{\"\"} 1\n", 1, "not empty");
    text_err("a{\"b\"} 1\n", 1, "expected \"=\"");
    text_err("# TYPE a\n", 1, "expected counter");
    text_err("# TYPE a Counter\n", 1, "expected counter");
    text_err("# TYPE a stateset\n", 1, "expected counter");
    text_err("# TYPE a gauge gauge\n", 1, "expected counter");
    text_err("# TYPE 1 gauge\n", 1, "expected a metric name");
    text_err("# HELP  \n", 1, "expected a metric name");
    text_err("# TYPE \n", 1, "expected a metric name");
    text_err("# HELP a-b x\n", 1, "expected a blank after the metric name");
}

/// The format's lines end with a line feed; a carriage return before it is neither blank nor tab.
#[test]
fn carriage_returns() {
    text_err("a 1\r\n", 1, "expected a value");
    text_err("a 1 2\r\n", 1, "expected a timestamp");
    text_err("\r\n", 1, "expected a metric name");
    text_err("# TYPE a gauge\r\n", 1, "expected counter");
    text("# HELP a x\r\n# comment\r\n", &["help a: x\r"]);
    om_err("a 1\r\n# EOF\n", 1, "expected a line feed alone");
    om_err("# HELP a x\r\n# EOF\n", 1, "expected a line feed alone");
    om_err("# EOF\r\n", 1, "expected a line feed alone");
    om("a{b=\"\r\"} 1\n", &["a{b=\"\r\"} = 1"]);
}

#[test]
fn utf8() {
    check_err(Format::Text, b"a 1\nb{c=\"\xff\"} 2\nd 3\n", 2, "invalid UTF-8");
    check_err(Format::Text, b"a 1\nb{c=\"\xe2\x82", 2, "invalid UTF-8");
    check_err(Format::OpenMetrics, b"\xef\xbb\xbfa 1\n# EOF\n", 1, "expected a metric name");
    check_err(Format::OpenMetrics, b"\xff", 1, "invalid UTF-8");
    text("a{b=\"\0日本\"} 1\n# HELP a 日本\n", &["a{b=\"\0日本\"} = 1", "help a: 日本"]);
}

/// A comment is ignored, whatever it holds; what is said of families is not.
#[test]
fn comments_may_hold_any_bytes() {
    let read = |page: &[u8]| read(page, Format::Text).unwrap();
    assert_eq!(read(b"a 1\n# caf\xe9\nb 2\n"), ["a = 1", "b = 2"]);
    assert_eq!(read(b" #\xff\n#\tx \xe2\x82\n#TYPE a \xff\n# HELP\xff a\nb 2\n# \xff"), ["b = 2"]);
    let mut parser = Parser::new(b"# \xff\n# \xff\nb\n", Format::Text);
    assert_eq!(parser.next_entry().unwrap_err().line, 3, "lines are counted on");
    for page in [&b"a 1\n# HELP a caf\xe9\n"[..], b"a 1\n# TYPE \xff gauge\n", b"a 1\n# TYPE a\xff gauge\n"] {
        check_err(Format::Text, page, 2, "invalid UTF-8");
    }
    check_err(Format::Text, b"# \xff\na{b=\"\xff\"} 2\n", 2, "invalid UTF-8");
    check_err(Format::OpenMetrics, b"# \xff\n# EOF\n", 1, "invalid UTF-8");
}

#[test]
fn open_metrics_samples() {
    check(Format::OpenMetrics, "# EOF\n", &[]);
    check(Format::OpenMetrics, "a 1\n# EOF", &["a = 1"]);
    om("a 17.0\nb{} 0\nc{d=\"e\",f=\"\"} 1e3\n", &["a = 17", "b{} = 0", "c{d=\"e\",f=\"\"} = 1000"]);
    om("a 17.0 1520879607.789\nb 1 -1\n", &["a = 17 at 1520879607789", "b = 1 at -1000"]);
    om("a +inf\nb -INFINITY\nc nan\n", &["a = inf", "b = -inf", "c = NaN"]);
    om("a_total 1\na_created 1520430000.123\n", &["a_total = 1", "a_created = 1520430000.123"]);
    om(
        r#"a{b="x\y\"\\\n"} 1
"#,
        &[r#"a{b="x\y\"\\\n"} = 1"#],
    );
    om("{\"a.b\",\"c.d\"=\"e\",f=\"g\"} 1\n", &["{\"a.b\",\"c.d\"=\"e\",f=\"g\"} = 1"]);
}

#[test]
fn open_metrics_exemplars() {
    om("a_total 1 # {trace_id=\"x\"} 0.5\n", &["a_total = 1 # {trace_id=\"x\"} = 0.5"]);
    om(
        "a_bucket{le=\"1.0\"} 3 12.5 # {t=\" # {\"} 0.67 1520879607.789\n",
        &["a_bucket{le=\"1.0\"} = 3 at 12500 # {t=\" # {\"} = 0.67 at 1520879607789"],
    );
    om("a_total 1 # {} 1\n", &["a_total = 1 # {} = 1"]);
    om_err("a 1 #\n# EOF\n", 1, "expected an exemplar");
    om_err("a 1 # \n# EOF\n", 1, "expected an exemplar");
    om_err("a 1 # a=\"b\" 1\n# EOF\n", 1, "expected an exemplar");
    om_err("a 1 #{} 1\n# EOF\n", 1, "expected an exemplar");
    om_err("a 1 # {\n# EOF\n", 1, "expected a label name");
    om_err("a 1 # {}\n# EOF\n", 1, "expected a space and a value after the exemplar's labels");
    om_err("a 1 # {}1\n# EOF\n", 1, "expected a space and a value");
    om_err("a 1 # {} x\n# EOF\n", 1, "expected a value");
    om_err("a 1 # {\"b\"} 1\n# EOF\n", 1, "expected \"=\"");
    om_err("a 1 # {b=\"c\"} 1 x\n# EOF\n", 1, "expected a timestamp in seconds");
    om_err("a 1 # {b=\"c\"} 1 2 3\n# EOF\n", 1, "expected nothing after the exemplar");
}

#[test]
fn exemplar_labels_are_limited() {
    let check = |labels: &str, part: Option<&str>| {
        let exemplar = Exemplar { labels, value: 1.0, timestamp: None };
        let error = exemplar.parse_labels().err().map(|error| error.to_string());
        assert_eq!(error.is_some(), part.is_some(), "{labels}: {error:?}");
        assert!(error.unwrap_or_default().contains(part.unwrap_or("")));
    };
    check("{}", None);
    check(&format!("{{a=\"{}\"}}", "ü".repeat(127)), None);
    check(&format!("{{a=\"{}\"}}", "ü".repeat(128)), Some("this one has 129"));
    check("{a=\"1\",a=\"2\"}", Some("more than once"));
    check("", Some("expected \"{\""));
}

#[test]
fn open_metrics_metadata() {
    om(
        "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds x \\n \\\" \\\\ \"\n",
        &["type a_seconds: Counter", "unit a_seconds: seconds", "help a_seconds: x \n \" \\ \""],
    );
    om("# HELP a \n# UNIT a \n", &["help a: ", "unit a: "]);
    om(
        "# TYPE a gaugehistogram\n# TYPE b stateset\n# TYPE c info\n# TYPE d unknown\n",
        &["type a: GaugeHistogram", "type b: StateSet", "type c: Info", "type d: Unknown"],
    );
    om(
        "# TYPE e gauge\n# TYPE f histogram\n# TYPE g summary\n",
        &["type e: Gauge", "type f: Histogram", "type g: Summary"],
    );
    om("# TYPE \"a.b\" gauge\n", &["type a.b: Gauge"]);
}

#[test]
fn bad_open_metrics() {
    om_err("", 1, "expected \"# EOF\"");
    om_err("a 1\nb 2\n", 2, "expected \"# EOF\"");
    om_err("a 1\n# EO", 2, "or \"# EOF\"");
    om_err("# EOF\na 1\n", 2, "expected nothing after");
    om_err("# EOF\n\n", 2, "expected nothing after");
    om_err("# EOF \n", 1, "or \"# EOF\"");
    om_err("\n# EOF\n", 1, "expected no empty line");
    om_err("# comment\n# EOF\n", 1, "expected \"# HELP \"");
    om_err("#TYPE a gauge\n# EOF\n", 1, "expected \"# HELP \"");
    om_err("# TYPE  a gauge\n# EOF\n", 1, "expected a metric name");
    om_err("# TYPE a  gauge\n# EOF\n", 1, "expected counter");
    om_err("# TYPE a untyped\n# EOF\n", 1, "expected counter");
    om_err("# HELP a\n# EOF\n", 1, "expected a space");
    om_err("# UNIT a seconds\n# EOF\n", 1, "expected a unit that the metric name ends with");
    om_err("# UNIT aseconds seconds\n# EOF\n", 1, "expected a unit");
    om_err("# UNIT _seconds seconds\n# EOF\n", 1, "expected a unit");
    om_err(" a 1\n# EOF\n", 1, "expected a metric name");
    om_err("a  1\n# EOF\n", 1, "expected a value");
    om_err("a\t1\n# EOF\n", 1, "expected a space");
    om_err("a 1 \n# EOF\n", 1, "expected a timestamp in seconds");
    om_err("a 1 NaN\n# EOF\n", 1, "expected a timestamp in seconds");
    om_err("a 1 1 1\n# EOF\n", 1, "expected an exemplar");
    om_err("a{b=\"c\"}1\n# EOF\n", 1, "expected a space");
    om_err("a{b=\"c\",} 1\n# EOF\n", 1, "expected a label name");
    om_err("a{b=\"c\", d=\"e\"} 1\n# EOF\n", 1, "expected a label name");
    om_err("a{ } 1\n# EOF\n", 1, "expected a label name");
    om_err("{\"a\",} 1\n# EOF\n", 1, "expected a metric name or a label name");
}

#[test]
fn reading_can_go_on_after_a_bad_line() {
    let mut parser = Parser::new(b"a 1\nb\nc 3\n", Format::Text);
    let sample = |entry| {
        if let Some(Entry::Sample(sample)) = entry { (sample.series, sample.line) } else { ("", 0) }
    };
    assert_eq!(sample(parser.next_entry().unwrap()), ("a", 1));
    assert_eq!(parser.next_entry().unwrap_err().line, 2);
    assert_eq!(sample(parser.next_entry().unwrap()), ("c", 3));
    assert_eq!(parser.next_entry(), Ok(None));
    assert_eq!(parser.next_entry(), Ok(None));
}

#[test]
fn an_error_shows_where_and_what() {
    let error = read(b"a 1\nb{c=d} 2\n", Format::Text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: expected a label value in double quotes at column 5, near \"d} 2\""
    );
}
