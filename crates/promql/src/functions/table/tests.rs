use std::collections::BTreeSet;

use super::*;
use crate::functions::find;

#[test]
fn names_are_unique_and_in_order() {
    assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!(find("rate").map(|function| function.name), Some("rate"));
    assert_eq!(find("Rate"), None);
}

#[test]
fn signatures_fit_their_kinds() {
    for function in TABLE {
        let name = function.name;
        assert!(function.optional <= function.args.len(), "{name}");
        assert!(!function.repeats || !function.args.is_empty(), "{name}");
        match function.kind {
            Kind::Math(_) | Kind::Date(_) | Kind::Histogram(_) => {
                assert_eq!(function.args, [Vector], "{name}")
            }
            Kind::Range(_) => {
                let ranges = function.args.iter().filter(|arg| **arg == Matrix).count();
                assert!(
                    ranges == 1 && function.args.iter().all(|arg| matches!(arg, Matrix | Scalar)),
                    "{name}"
                );
            }
            Kind::Special(_) => {}
        }
    }
}

#[test]
fn special_functions_have_a_kind_each() {
    let specials: Vec<Special> = TABLE
        .iter()
        .filter_map(|function| match function.kind {
            Kind::Special(special) => Some(special),
            _ => None,
        })
        .collect();
    let distinct: BTreeSet<_> = specials.iter().map(|special| format!("{special:?}")).collect();
    assert_eq!(distinct.len(), specials.len());
}
