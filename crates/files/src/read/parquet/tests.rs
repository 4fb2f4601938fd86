//! Files that the format's own writer makes, and files that no writer makes.

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

/// A column for a test: values, with levels where it has them.
#[derive(Clone, Copy)]
struct Column<'a> {
    texts: &'a [&'a str],
    numbers: &'a [i64],
    doubles: &'a [f64],
    flags: &'a [bool],
    definitions: &'a [i16],
    repetitions: &'a [i16],
}

const EMPTY: Column<'static> =
    Column { texts: &[], numbers: &[], doubles: &[], flags: &[], definitions: &[], repetitions: &[] };

fn texts<'a>(texts: &'a [&'a str]) -> Column<'a> {
    Column { texts, ..EMPTY }
}

fn doubles(doubles: &[f64]) -> Column<'_> {
    Column { doubles, ..EMPTY }
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::UNCOMPRESSED)
}

/// A file of one row group.
fn file(schema: &str, properties: WriterPropertiesBuilder, columns: &[Column<'_>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut columns = columns.iter();
    while let Some(mut out) = group.next_column().unwrap() {
        let column = columns.next().unwrap();
        let definitions = Some(column.definitions).filter(|levels| !levels.is_empty());
        let repetitions = Some(column.repetitions).filter(|levels| !levels.is_empty());
        match out.untyped() {
            ColumnWriter::ByteArrayColumnWriter(_) => {
                let values: Vec<ByteArray> = column.texts.iter().map(|text| ByteArray::from(*text)).collect();
                out.typed::<ByteArrayType>().write_batch(&values, definitions, repetitions).unwrap();
            }
            ColumnWriter::Int64ColumnWriter(_) => {
                out.typed::<Int64Type>().write_batch(column.numbers, definitions, repetitions).unwrap();
            }
            ColumnWriter::Int32ColumnWriter(_) => {
                let values: Vec<i32> =
                    column.numbers.iter().map(|number| i32::try_from(*number).unwrap()).collect();
                out.typed::<Int32Type>().write_batch(&values, definitions, repetitions).unwrap();
            }
            ColumnWriter::BoolColumnWriter(_) => {
                out.typed::<BoolType>().write_batch(column.flags, definitions, repetitions).unwrap();
            }
            _ => {
                out.typed::<DoubleType>().write_batch(column.doubles, definitions, repetitions).unwrap();
            }
        }
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.finish().unwrap();
    writer.inner().clone()
}

/// Rows as text, faults too.
fn read(bytes: &[u8], limit: u64) -> Result<Vec<String>, FileError> {
    let mut rows = ParquetRows::open(Arc::new(bytes.to_vec()), limit)?;
    let (mut seen, mut row) = (Vec::new(), Row::default());
    loop {
        row.clear();
        seen.push(match rows.next_row(&mut row)? {
            Step::End => return Ok(seen),
            Step::Fault(fault) => format!("{}: {}", fault.line, fault.message),
            Step::Row => {
                let labels: Vec<String> =
                    row.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let time = row.timestamp.map_or("now".to_owned(), |time| time.to_string());
                format!("{}{{{}}} {:?} {time}", row.name, labels.join(","), row.value)
            }
        });
    }
}

fn refused(bytes: &[u8], limit: u64) -> String {
    match read(bytes, limit) {
        Ok(rows) => panic!("{} rows were read", rows.len()),
        Err(error) => error.to_string(),
    }
}

const PLAIN: &str = "message m { required binary metric_name (STRING); required double value; }";

#[test]
fn columns_of_other_writers_are_read() {
    let schema = "message m {
        optional int64 time (TIMESTAMP(NANOS, false));
        required binary name (STRING);
        optional double value;
        optional group labels (MAP) {
            repeated group entries { required binary k (STRING); optional binary v (STRING); }
        }
        optional int32 port (INTEGER(16, false));
        optional binary source (STRING);
    }";
    let columns = [
        Column { numbers: &[1_999_999, 5_000_000], definitions: &[1, 0, 1], ..EMPTY },
        texts(&["a", "b", "c"]),
        Column { doubles: &[1.5, 2.5], definitions: &[1, 1, 0], ..EMPTY },
        Column { texts: &["x", "y", "z"], definitions: &[2, 2, 0, 2], repetitions: &[0, 1, 0, 0], ..EMPTY },
        Column { texts: &["1", "3"], definitions: &[3, 2, 0, 3], repetitions: &[0, 1, 0, 0], ..EMPTY },
        Column { numbers: &[40_000], definitions: &[0, 1, 0], ..EMPTY },
        Column { definitions: &[0, 0, 0], ..EMPTY },
    ];
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = properties().set_writer_version(version).set_encoding(Encoding::PLAIN);
        let expected = ["a{x=1} Float(1.5) 1", "b{port=40000} Float(2.5) now", "3: value: missing"];
        assert_eq!(read(&file(schema, properties, &columns), 1 << 20).unwrap(), expected);
    }
}

#[test]
fn labels_may_be_a_group_but_nothing_deeper() {
    let schema = "message m {
        required binary metric_name (STRING); required double value;
        optional group labels { optional binary host (STRING); optional int64 port; }
    }";
    let columns = [
        texts(&["a", "b"]),
        doubles(&[1.0, 2.0]),
        Column { texts: &["h"], definitions: &[2, 0], ..EMPTY },
        Column { numbers: &[80], definitions: &[2, 0], ..EMPTY },
    ];
    let rows = read(&file(schema, properties(), &columns), 1 << 20).unwrap();
    assert_eq!(rows, ["a{host=h,port=80} Float(1.0) now", "b{} Float(2.0) now"]);

    let schema = "message m {
        required binary metric_name (STRING); required double value;
        optional group host (LIST) { repeated group list { optional binary element (STRING); } }
    }";
    let columns = [
        texts(&["a"]),
        doubles(&[1.0]),
        Column { texts: &["h"], definitions: &[3], repetitions: &[0], ..EMPTY },
    ];
    assert!(refused(&file(schema, properties(), &columns), 1 << 20).contains("column host"));
}

#[test]
fn batches_end_anywhere() {
    let names: Vec<String> = (0..3_000).map(|at| format!("n{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values: Vec<f64> = (0..3_000).map(f64::from).collect();
    let properties = properties().set_data_page_row_count_limit(700).set_write_batch_size(100);
    let rows = read(&file(PLAIN, properties, &[texts(&names), doubles(&values)]), 1 << 20).unwrap();
    assert_eq!(rows.len(), 3_000);
    assert_eq!((&*rows[1_023], &*rows[2_999]), ("n1023{} Float(1023.0) now", "n2999{} Float(2999.0) now"));
}

/// A file of nothing but a schema, of groups inside of one another that each claim so many children.
fn schema_only(depth: usize, children: u8) -> Vec<u8> {
    let mut footer = vec![0x15, 0x04, 0x19, 0xfc];
    let mut left = depth;
    while left >= 0x80 {
        footer.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    footer.push(u8::try_from(left).unwrap());
    for element in 0..depth {
        let children = if element + 1 == depth { 0 } else { children * 2 };
        footer.extend([0x35, 0x00, 0x18, 1, b'a', 0x15, children, 0x00]);
    }
    footer.extend([0x16, 0x00, 0x19, 0x0c, 0x00]);
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat()
}

#[test]
fn a_schema_is_as_deep_as_a_table_of_samples() {
    assert!(refused(&schema_only(4_000, 1), 1 << 20).contains("deep"));
    assert!(refused(&schema_only(10_000, 1), 1 << 20).contains("elements"));
    // One more child than there is.
    assert!(refused(&schema_only(3, 2), 1 << 20).contains("footer does not read"));
    assert!(refused(&schema_only(3, 1), 1 << 20).contains("column"));
}

#[test]
fn few_bytes_do_not_stand_for_any_number_of_rows() {
    let (names, values) = (vec!["a"; 200_000], vec![1.0; 200_000]);
    let bytes = file(PLAIN, properties(), &[texts(&names), doubles(&values)]);
    assert!(bytes.len() < 10_000, "{}", bytes.len());
    assert!(refused(&bytes, 1 << 20).contains("unfolds to more than 1048576 bytes"));
    assert_eq!(read(&bytes, 4 << 20).unwrap().len(), 200_000);
}

#[test]
fn a_row_may_not_have_any_number_of_labels() {
    let schema = "message m {
        required binary metric_name (STRING); required double value;
        required group labels (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); }
        }
    }";
    let long = "x".repeat(2_000);
    for (count, text, expected) in
        [((2_usize << 20) + 1, "x", "values"), (1_000, long.as_str(), "labels are longer")]
    {
        let (present, again) = (vec![1; count], [vec![0], vec![1; count - 1]].concat());
        let values = vec![text; count];
        let column = || Column { texts: &values, definitions: &present, repetitions: &again, ..EMPTY };
        let bytes = file(schema, properties(), &[texts(&["a"]), doubles(&[1.0]), column(), column()]);
        assert!(bytes.len() < 100_000, "{}", bytes.len());
        let told = read(&bytes, 1 << 40).map_or_else(|error| error.to_string(), |rows| rows[0].clone());
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn flags_and_numbers_as_labels_are_bounded_too() {
    let long = "x".repeat(2_000);
    for (kind, flags) in
        [("boolean value", true), ("int64 value", false), ("int64 value (INTEGER(64, false))", false)]
    {
        let schema = format!(
            "message m {{
                required binary metric_name (STRING); required double value;
                required group labels (MAP) {{
                    repeated group key_value {{ required binary key (STRING); required {kind}; }}
                }}
            }}"
        );
        for (count, taken) in [(500, true), (1_000, false)] {
            let (present, again) = (vec![1; count], [vec![0], vec![1; count - 1]].concat());
            let (names, numbers, truths) = (vec![long.as_str(); count], vec![7; count], vec![true; count]);
            let names = Column { texts: &names, definitions: &present, repetitions: &again, ..EMPTY };
            let values = Column { texts: &[], ..names };
            let values = if flags {
                Column { flags: &truths, ..values }
            } else {
                Column { numbers: &numbers, ..values }
            };
            let bytes = file(&schema, properties(), &[texts(&["a"]), doubles(&[1.0]), names, values]);
            assert!(bytes.len() < 20_000, "{}", bytes.len());
            let told = &read(&bytes, 1 << 40).unwrap()[0];
            let expected = if taken { "is given more than once" } else { "the labels are longer" };
            assert!(told.contains(expected), "{kind}: {told}");
        }
    }
}

#[test]
fn encodings_that_unfold_without_bound_are_refused() {
    let names: Vec<String> = (0..50).map(|at| format!("name{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = vec![1.0; 50];
    let write = |encoding| {
        let properties = properties().set_dictionary_enabled(false).set_encoding(Encoding::PLAIN);
        let properties = properties.set_column_encoding("metric_name".into(), encoding);
        file(PLAIN, properties, &[texts(&names), doubles(&values)])
    };
    assert!(refused(&write(Encoding::DELTA_BYTE_ARRAY), 1 << 20).contains("encoding 7"));
    let mut lengths = write(Encoding::DELTA_LENGTH_BYTE_ARRAY);
    assert_eq!(read(&lengths, 1 << 20).unwrap().len(), 50);
    // The head of the list of lengths: blocks of 128 in 4 parts, 50 lengths.
    let at = lengths.windows(4).position(|bytes| bytes == [0x80, 0x01, 0x04, 50]).unwrap();
    lengths[at + 3] = 100;
    assert!(refused(&lengths, 1 << 20).contains("more lengths than it has values"));
}
