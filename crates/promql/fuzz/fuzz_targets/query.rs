//! Reads any text as a query and as a selector; what is a query must read as itself once it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_promql::ast::Expr;
use metricsd_promql::syntax::{pretty, to_json};
use metricsd_promql::{ParseOptions, parse, parse_selector};

fuzz_target!(|text: &str| {
    let _ = parse_selector(text);
    for experimental in [false, true] {
        let options = ParseOptions { experimental };
        let Ok(expr) = parse(text, options) else {
            continue;
        };
        let shown = expr.to_string();
        for written in [shown.clone(), pretty(&expr)] {
            let again: Expr = parse(&written, options).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(again.to_string(), shown);
        }
        drop(to_json(&expr));
    }
});
