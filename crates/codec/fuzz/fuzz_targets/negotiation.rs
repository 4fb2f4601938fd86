//! Whatever a target says of its format, it is one that is known or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::exposition::Format;

fuzz_target!(|header: &str| {
    let _ = Format::negotiate(header, None);
});
