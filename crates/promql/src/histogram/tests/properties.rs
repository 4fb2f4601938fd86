//! What holds for any histogram.

use metricsd_model::{NativeHistogram, ResetHint, Span};
use proptest::prelude::*;

use super::super::*;

type Buckets = Vec<(i32, f64)>;

fn side() -> impl Strategy<Value = Buckets> {
    proptest::collection::btree_map(-20..20i32, 1..1000u32, 0..12)
        .prop_map(|buckets| buckets.into_iter().map(|(at, count)| (at, f64::from(count))).collect())
}

/// Well-made histograms without NaN observations; no zero bucket reaches into another bucket.
fn exponential() -> impl Strategy<Value = NativeHistogram> {
    (0..=4i32, side(), side(), 0..50u32).prop_map(|(schema, positive, negative, zero)| {
        let total: f64 = positive.iter().chain(&negative).map(|(_, count)| count).sum();
        let mut histogram = NativeHistogram {
            schema,
            zero_threshold: if zero > 0 { 2f64.powi(-30) } else { 0.0 },
            zero_count: f64::from(zero),
            count: total + f64::from(zero),
            sum: total * 1.5,
            ..NativeHistogram::default()
        };
        histogram.set_positive(&positive);
        histogram.set_negative(&negative);
        histogram
    })
}

fn custom() -> impl Strategy<Value = NativeHistogram> {
    (proptest::collection::btree_map(-5..15i32, 0..100u32, 1..8), 0..100u32).prop_map(|(buckets, above)| {
        let custom_values: Vec<f64> = buckets.keys().map(|bound| f64::from(*bound)).collect();
        let counts = buckets.values().copied().chain([above]).map(f64::from);
        let placed: Buckets = (0..).zip(counts).collect();
        let count = placed.iter().map(|(_, count)| count).sum();
        let mut histogram = NativeHistogram {
            schema: -53,
            count,
            sum: count * 2.0,
            custom_values,
            ..NativeHistogram::default()
        };
        histogram.set_positive(&placed);
        histogram
    })
}

fn sensible() -> impl Strategy<Value = NativeHistogram> {
    prop_oneof![exponential(), custom()]
}

/// Anything that fits into the type.
fn malformed() -> impl Strategy<Value = NativeHistogram> {
    let float = || prop_oneof![any::<u64>().prop_map(f64::from_bits), -10.0..10.0f64];
    let floats = move || proptest::collection::vec(float(), 0..12);
    let span = || (prop_oneof![any::<i32>(), -5..5i32], prop_oneof![any::<u32>(), 0..5u32]);
    let spans =
        move || proptest::collection::vec(span().prop_map(|(offset, length)| Span { offset, length }), 0..5);
    let schema = prop_oneof![any::<i32>(), Just(-53), -4..=8i32];
    let hint = prop_oneof![Just(ResetHint::Unknown), Just(ResetHint::Gauge), Just(ResetHint::Yes)];
    ((schema, float(), float(), float(), float(), hint), spans(), floats(), spans(), floats(), floats())
        .prop_map(
            |(
                (schema, zero_threshold, zero_count, count, sum, reset_hint),
                ps,
                pb,
                ns,
                nb,
                custom_values,
            )| {
                NativeHistogram {
                    schema,
                    zero_threshold,
                    zero_count,
                    count,
                    sum,
                    reset_hint,
                    positive_spans: ps,
                    positive_buckets: pb,
                    negative_spans: ns,
                    negative_buckets: nb,
                    custom_values,
                }
            },
        )
}

fn total(histogram: &NativeHistogram) -> f64 {
    buckets(histogram).iter().map(|bucket| bucket.count).sum()
}

proptest! {
    #[test]
    fn adding_commutes(one in sensible(), two in sensible()) {
        match (add(&one, &two), add(&two, &one)) {
            (Ok(here), Ok(there)) => {
                prop_assert!(same(&here.histogram, &there.histogram));
                prop_assert_eq!(total(&here.histogram), here.histogram.count);
                prop_assert_eq!(here.histogram.validate(), Ok(()));
            }
            (here, there) => {
                prop_assert!(here.is_err() && there.is_err());
                prop_assert_ne!(one.uses_custom_buckets(), two.uses_custom_buckets());
            }
        }
    }

    #[test]
    fn subtracting_undoes_adding(one in sensible(), two in sensible()) {
        if let Ok(sum) = add(&one, &two) {
            let back = sub(&sum.histogram, &two).unwrap().histogram;
            // The sum has the resolution, the zero bucket and the bounds that both could have.
            let nothing = scale(&two, 0.0);
            let wanted = add(&one, &nothing).unwrap().histogram;
            prop_assert_eq!(back.count, wanted.count);
            prop_assert_eq!(total(&back), total(&wanted));
            prop_assert_eq!(back.schema, wanted.schema);
            prop_assert!(!detect_reset(&sum.histogram, &one));
        }
    }

    #[test]
    fn lower_resolutions_hold_as_much(histogram in exponential(), steps in 0..8i32) {
        let coarse = to_schema(&histogram, histogram.schema - steps);
        prop_assert_eq!(total(&coarse), total(&histogram));
        prop_assert!(coarse.positive_buckets.len() <= histogram.positive_buckets.len());
    }

    #[test]
    fn lower_resolutions_are_no_reset(histogram in exponential(), steps in 0..4i32) {
        let coarse = to_schema(&histogram, histogram.schema - steps);
        prop_assert!(!detect_reset(&coarse, &histogram));
        prop_assert!(steps == 0 || coarse.schema == histogram.schema || detect_reset(&histogram, &coarse));
    }

    #[test]
    fn compacting_changes_nothing(histogram in malformed()) {
        let mut compacted = histogram.clone();
        compact(&mut compacted);
        prop_assert!(same(&compacted, &histogram));
        let again = compacted.clone();
        compact(&mut compacted);
        prop_assert_eq!(&again.positive_spans, &compacted.positive_spans);
    }

    #[test]
    fn quantiles_grow(histogram in sensible(), one in 0.0..=1.0f64, two in 0.0..=1.0f64) {
        let (low, high) = (one.min(two), one.max(two));
        let (low, high) = (quantile(&histogram, low).value, quantile(&histogram, high).value);
        prop_assert!(histogram.count == 0.0 || low <= high + 1e-9 * high.abs(), "{low} {high}");
    }

    #[test]
    fn fractions_undo_quantiles(histogram in exponential(), phi in 0.001..0.999f64) {
        let value = quantile(&histogram, phi).value;
        let back = fraction(&histogram, f64::NEG_INFINITY, value).value;
        prop_assert!(histogram.count == 0.0 || (back - phi).abs() < 1e-6, "{phi} {value} {back}");
    }

    #[test]
    fn trimming_agrees_with_fractions(histogram in exponential(), bound in -10.0..10.0f64) {
        let below = trim(&histogram, bound, Side::Below);
        let above = trim(&histogram, bound, Side::Above);
        prop_assert!((below.count + above.count - histogram.count).abs() < 1e-6);
        let share = fraction(&histogram, f64::NEG_INFINITY, bound).value;
        prop_assert!(histogram.count == 0.0 || (below.count / histogram.count - share).abs() < 1e-9);
    }

    #[test]
    fn accumulating_is_adding(histograms in proptest::collection::vec(exponential(), 1..6)) {
        let mut all = Accumulator::new();
        let mut sum = NativeHistogram { schema: 8, ..NativeHistogram::default() };
        for histogram in &histograms {
            all.add(histogram).unwrap();
            sum = add(&sum, histogram).unwrap().histogram;
        }
        prop_assert!(same(&all.sum().unwrap(), &sum));
        prop_assert!((all.mean().unwrap().count * histograms.len() as f64 - sum.count).abs() < 1e-6);
    }

    #[test]
    fn notation_gives_back_what_it_wrote(histogram in sensible()) {
        let written = notation::write(&histogram);
        let read = notation::parse(&written).unwrap();
        prop_assert!(same(&read, &histogram), "{written}");
        prop_assert_eq!(read.reset_hint, histogram.reset_hint);
    }

    #[test]
    fn notation_never_panics(text in ".{0,60}", keys in "(\\{\\{)?([a-z_]{1,8}:[\\[\\] 0-9_x]{0,10} ?){0,4}(\\}\\})?") {
        let _ = notation::parse(&text);
        let _ = notation::parse(&keys);
    }

    #[test]
    fn nothing_panics(one in malformed(), two in malformed(), number in any::<f64>(), schema in any::<i32>()) {
        let mut all = Accumulator::new();
        for histogram in [&one, &two, &one, &two] {
            let _ = all.add(histogram);
        }
        let _ = (all.sum(), all.mean(), add(&one, &two), sub(&two, &one));
        let _ = (detect_reset(&one, &two), detect_reset(&two, &one), same(&one, &two));
        let _ = (scale(&one, number), divide(&one, number), to_schema(&one, schema));
        let _ = (quantile(&one, number), quantile(&one, number.abs().fract()), fraction(&one, number, f64::INFINITY));
        let _ = (average(&one), stddev(&one), api_buckets(&one), to_text(&one));
        let _ = (trim(&one, number, Side::Below), trim(&one, number, Side::Above));
        let _ = notation::parse(&notation::write(&one));
        let _ = (one.validate(), one.reduce_if_needed());
    }
}
