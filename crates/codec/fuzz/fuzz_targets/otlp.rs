//! Reads any bytes as a request of OTLP, as protobuf and as JSON, with every option.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::otlp::{
    OtlpError, OtlpOptions, Promotion, Request, StreamLimits, Streams, Translation, convert, protobuf_of_json,
};
use metricsd_codec::remote_write::{WriteScanner, outline};

const LIMIT: usize = 1 << 20;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    read(body, choice);
    if let Ok(body) = protobuf_of_json(body) {
        read(&body, choice);
    }
});

fn read(body: &[u8], choice: u8) {
    let bit = |place: u8| choice >> place & 1 == 1;
    let none = Default::default();
    let options = OtlpOptions {
        translation: Translation::ALL[usize::from(choice & 3)],
        promotion: if bit(2) { Promotion::AllBut(none) } else { Promotion::These(none) },
        keep_identifying: bit(3),
        custom_buckets: bit(4),
        scope_labels: bit(5),
        delta: bit(6),
        start_zeros: bit(7),
        max_bytes: LIMIT,
    };
    let mut streams = Streams::new(StreamLimits { max_bytes: 10_000, max_idle: 1_000 });
    let request = Request { body, source_id: "", received_at: 1_750_500_000_000, earliest: 0, latest: i64::MAX };
    match convert(request, &options, Some(&mut streams)) {
        Ok(converted) => {
            assert!(converted.refused <= converted.points);
            let outline = outline(&converted.body, usize::MAX).expect("a body of remote write");
            let mut scanner = WriteScanner::new(&converted.body);
            let mut series = 0;
            while scanner.next_series().expect("a series").is_some() {
                series += 1;
            }
            assert_eq!(series, outline.series);
        }
        Err(OtlpError::TooLarge { limit }) => assert_eq!(limit, LIMIT),
        Err(OtlpError::Damaged(_)) => assert_eq!(streams.size(), (0, 0)),
    }
    assert!(streams.size().1 <= 10_000);
}
