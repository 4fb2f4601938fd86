use proptest::prelude::*;

use super::*;
use crate::line_names::Names;
use crate::remote_write::{BodyWriter, SeriesItem, WriteScanner};

fn mapping() -> Mapping {
    Mapping { names: Names::Mapped, separator: "_".to_owned(), value_alone: true, labels: Vec::new() }
}

/// What a body becomes: series as text with their values and times, and the errors.
fn read(body: &[u8], mapping: &Mapping) -> (Vec<String>, Vec<String>) {
    let mut parser = LineParser::new(body);
    let (mut out, mut errors) = (BodyWriter::new(), Vec::new());
    while let Some(line) = parser.next_line() {
        match line {
            Ok(line) => {
                mapping.write(&line, line.timestamp.unwrap_or(-1), &mut out, 1 << 20).unwrap();
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    (series_of(&out.into_bytes()), errors)
}

fn series_of(body: &[u8]) -> Vec<String> {
    let mut scanner = WriteScanner::new(body);
    let mut found = Vec::new();
    while let Some(series) = scanner.next_series().unwrap() {
        let labels = series.parse_labels(100).unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let labels: Vec<String> =
            labels.iter().map(|label| format!("{}={}", text(label.name), text(label.value))).collect();
        let mut items = series.items();
        while let Some(item) = items.next_item().unwrap() {
            let SeriesItem::Sample { timestamp, value } = item else { panic!("{item:?}") };
            found.push(format!("{} {value} {timestamp}", labels.join(",")));
        }
    }
    found
}

fn check(body: &str, expected: &[&str]) {
    let (series, errors) = read(body.as_bytes(), &mapping());
    assert_eq!(errors, Vec::<String>::new(), "{body}");
    assert_eq!(series, expected, "{body}");
}

#[test]
fn lines_become_series() {
    check("cpu usage=1.5 7", &["__name__=cpu_usage 1.5 7"]);
    check(
        "cpu,host=a,dc=x usage=1,idle=-2e3 7\n",
        &["__name__=cpu_usage,host=a,dc=x 1 7", "__name__=cpu_idle,host=a,dc=x -2000 7"],
    );
    check("cpu value=1i,other=2u", &["__name__=cpu 1 -1", "__name__=cpu_other 2 -1"]);
    check(
        "m a=t,b=F,c=true,d=FALSE",
        &["__name__=m_a 1 -1", "__name__=m_b 0 -1", "__name__=m_c 1 -1", "__name__=m_d 0 -1"],
    );
    check("m s=\"x, y=1 \\\" \\\\\",n=1 5", &["__name__=m_n 1 5"]);
    check("m s=\"two\nlines\" 5\nm n=1", &["__name__=m_n 1 -1"]);
    check("# a comment\n\n  m n=1  5  \r\nm n=2 6\r\n", &["__name__=m_n 1 5", "__name__=m_n 2 6"]);
    check("m,t= n=1", &["__name__=m_n 1 -1"]);
    check("m n=1 -5", &["__name__=m_n 1 -5"]);
}

#[test]
fn escapes_are_resolved_and_names_mapped() {
    check("my\\ cpu\\,x,tag\\ a=b\\=c\\,d field\\=e=1", &["__name__=my_cpu_x_field_e,tag_a=b=c,d 1 -1"]);
    check("m,path=C:\\dir n=1", &["__name__=m_n,path=C:\\dir 1 -1"]);
    check("m,a=x\\\\ y n=1", &["__name__=m_n,a=x\\ y 1 -1"]);
    check("5xx.rate value=1", &["__name__=_5xx_rate 1 -1"]);
    let utf8 = Mapping { names: Names::Utf8, separator: ".".to_owned(), value_alone: false, ..mapping() };
    let (series, _) = read("größe.x,täg=ä value=1".as_bytes(), &utf8);
    assert_eq!(series, ["__name__=größe.x.value,täg=ä 1 -1"]);
}

#[test]
fn labels_of_the_request_yield_to_tags() {
    let labelled = Mapping { labels: vec![("db".to_owned(), "d".to_owned())], ..mapping() };
    let (series, _) = read(b"m n=1\nm,db=own n=1", &labelled);
    assert_eq!(series, ["__name__=m_n,db=d 1 -1", "__name__=m_n,db=own 1 -1"]);
}

#[test]
fn bad_lines_harm_no_neighbour() {
    for (line, problem) in [
        ("m", "missing fields"),
        ("m ", "missing fields"),
        (",a=b n=1", "missing measurement"),
        ("m,a n=1", "missing tag value"),
        ("m,=b n=1", "missing tag key"),
        ("m,a=b,a=c n=1", "duplicate tags"),
        ("m,a=b=c n=1", "invalid tag format"),
        ("m n", "missing field value"),
        ("m n=", "missing field value"),
        ("m =1", "missing field key"),
        ("m n=1,", "missing field key"),
        ("m n=1.2.3", "invalid number"),
        ("m n=nan", "invalid number"),
        ("m n=1e999", "invalid number"),
        ("m n=inf", "invalid number"),
        ("m n=9223372036854775808i", "invalid integer"),
        ("m n=-1u", "invalid unsigned integer"),
        ("m n=\"x\"y", "expected a comma or a blank after a field"),
        ("m n=1 later", "bad timestamp"),
        ("m n=1 1.5", "bad timestamp"),
        ("m n=1 99999999999999999999", "bad timestamp"),
    ] {
        let body = format!("a n=1 1\n{line}\nb n=2 2\n");
        let (series, errors) = read(body.as_bytes(), &mapping());
        assert_eq!(series, ["__name__=a_n 1 1", "__name__=b_n 2 2"], "{line}");
        assert_eq!(errors, [format!("line 2: unable to parse '{}': {problem}", line.trim_end())]);
    }
    let (series, errors) = read(b"m\xff n=1\nb n=2 2", &mapping());
    assert_eq!((series.len(), errors.len()), (1, 1));
    let (_, errors) = read(b"m s=\"open\nm n=1", &mapping());
    assert_eq!(errors.len(), 1);
}

#[test]
fn what_a_line_becomes_is_bounded_while_it_is_written() {
    let fields: Vec<String> = (0..10_000).map(|number| format!("f{number}=1")).collect();
    let line = format!("m,t={} {}", "x".repeat(10_000), fields.join(","));
    let mut parser = LineParser::new(line.as_bytes());
    let line = parser.next_line().unwrap().unwrap();
    let mut body = BodyWriter::new();
    let limit = 1 << 20;
    assert_eq!(mapping().write(&line, 1, &mut body, limit), Err(TooLarge { limit }));
    assert!(body.len() <= limit + 100, "{}", body.len());
}

#[test]
fn a_line_has_so_many_tags_at_most() {
    let line = |count: usize| {
        let tags: String = (0..count).map(|number| format!(",t{number}=1")).collect();
        format!("m{tags} n=1\nb n=2 2")
    };
    assert_eq!(read(line(1_024).as_bytes(), &mapping()).1, Vec::<String>::new());
    let (series, errors) = read(line(1_025).as_bytes(), &mapping());
    assert_eq!(series, ["__name__=b_n 2 2"]);
    assert!(errors[0].ends_with("more than 1024 tags"), "{errors:?}");
}

#[test]
fn timestamps_have_a_precision() {
    for (name, timestamp, millis) in [
        ("", 1_500_000, Some(1)),
        ("n", -1, Some(-1)),
        ("us", 1_999, Some(1)),
        ("µ", 2_000, Some(2)),
        ("ms", 5, Some(5)),
        ("s", 5, Some(5_000)),
        ("m", 1, Some(60_000)),
        ("h", 1, Some(3_600_000)),
        ("h", i64::MAX, None),
    ] {
        let precision = Precision::from_name(name).unwrap();
        assert_eq!(precision.to_millis(timestamp), millis, "{name} {timestamp}");
    }
    assert_eq!(Precision::from_name("d"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&body, &mapping());
    }

    #[test]
    fn nothing_like_lines_makes_it_panic(body in "[a-c ,=\"\\\\\n\r#0-9iut.-]{0,120}") {
        let lines = body.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let mut parser = LineParser::new(body.as_bytes());
        let mut last = 0;
        while let Some(line) = parser.next_line() {
            let number = line.map_or_else(|error| error.line, |line| line.number);
            prop_assert!(number > last && number <= lines);
            last = number;
        }
    }

    #[test]
    fn what_is_escaped_comes_back(
        measurement in "[a-z][a-z ,=]{0,8}[a-z]",
        tag in "[a-z ,=]{0,6}[a-z]",
        value in "[a-zA-Z ,=é]{0,8}[a-z]",
        number in -1e9..1e9f64,
    ) {
        let escape = |text: &str| text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
        // An equals sign in a measurement needs no escape, and may have one.
        let line = format!("{},{}={} v={number} 9", escape(&measurement), escape(&tag), escape(&value));
        let utf8 = Mapping { names: Names::Utf8, ..mapping() };
        let (series, errors) = read(line.as_bytes(), &utf8);
        prop_assert_eq!(errors, Vec::<String>::new());
        prop_assert_eq!(series, vec![format!("__name__={measurement}_v,{tag}={value} {number} 9")]);
    }
}
