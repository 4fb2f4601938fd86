//! Values of a segment as small whole numbers, where they are multiples of one step: counts, hundredths, nanoseconds, pages.
//!
//! `value = (base + slope * place + number) / scale`, places counted from 0. What is written is read back first: where any
//! bit would differ, the values stay floats.

use metricsd_codec::pack::whole_numbers;

/// Fewer values stay floats: what is said beside the numbers would take more than they save.
const FEWEST: usize = 8;

/// How the values of a segment are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// As they are.
    Floats,
    /// All of them are this one, bit for bit.
    Constant(f64),
    /// As whole numbers.
    Whole(Whole),
}

/// Values as whole numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// How numbers become values.
    pub line: Line,
    /// One a value.
    pub numbers: Numbers,
}

/// What numbers are counted from: all three are exact as floats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// A whole number.
    pub base: f64,
    /// A whole number: how much is added from place to place.
    pub slope: f64,
    /// A power of ten, or one of two that is not above 1.
    pub scale: f64,
}

/// Numbers of the smallest width that holds all of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Two bytes each.
    Short(Vec<i16>),
    /// Four bytes each.
    Long(Vec<i32>),
}

impl Line {
    /// The value that a number stands for at a place. SQL calculates the same in the same order.
    pub fn value(&self, place: usize, number: f64) -> f64 {
        (self.base + self.slope * place as f64 + number) / self.scale
    }
}

impl Shape {
    /// The smallest form of these values.
    pub fn of(values: &[f64]) -> Self {
        let Some((first, rest)) = values.split_first() else { return Self::Floats };
        if !rest.is_empty() && rest.iter().all(|value| value.to_bits() == first.to_bits()) {
            return Self::Constant(*first);
        }
        match (values.len() >= FEWEST).then(|| whole(values)).flatten() {
            Some(whole) => Self::Whole(whole),
            None => Self::Floats,
        }
    }
}

fn whole(values: &[f64]) -> Option<Whole> {
    let (scale, wholes) = whole_numbers(values)?;
    let (first, last) = (*wholes.first()?, *wholes.last()?);
    // Counters grow, and what is left beside a line is smaller than how far they get.
    let slope = (last - first) / (wholes.len() as i64 - 1).max(1);
    let flat = fit(&wholes, 0)?;
    let sloping = if flat.width == Width::Short { None } else { fit(&wholes, slope) };
    let fit = sloping.filter(|sloping| sloping.width < flat.width).unwrap_or(flat);
    let line = Line { base: fit.base as f64, slope: fit.slope as f64, scale };
    let number = |(place, whole): (i64, &i64)| whole - fit.slope * place - fit.base;
    let placed = (0..).zip(&wholes).map(number);
    let numbers = match fit.width {
        Width::Short => {
            Numbers::Short(placed.map(|number| i16::try_from(number).ok()).collect::<Option<_>>()?)
        }
        Width::Long => Numbers::Long(placed.map(|number| i32::try_from(number).ok()).collect::<Option<_>>()?),
    };
    let whole = Whole { line, numbers };
    let same = whole.values().zip(values).all(|(read, value)| read.to_bits() == value.to_bits());
    same.then_some(whole)
}

impl Whole {
    /// The values as they will be read.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let (short, long) = match &self.numbers {
            Numbers::Short(numbers) => (numbers.as_slice(), &[][..]),
            Numbers::Long(numbers) => (&[][..], numbers.as_slice()),
        };
        let numbers =
            short.iter().map(|number| f64::from(*number)).chain(long.iter().map(|number| f64::from(*number)));
        numbers.enumerate().map(|(place, number)| self.line.value(place, number))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Short,
    Long,
}

struct Fit {
    base: i64,
    slope: i64,
    width: Width,
}

/// How the numbers beside a line of this slope are to be stored; `None` where they are too large.
fn fit(wholes: &[i64], slope: i64) -> Option<Fit> {
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for (place, whole) in (0..).zip(wholes) {
        let beside = whole.checked_sub(slope.checked_mul(place)?)?;
        (least, most) = (least.min(beside), most.max(beside));
    }
    let range = most.checked_sub(least)?;
    let (width, positive) = match range {
        0..0x1_0000 => (Width::Short, i64::from(i16::MAX)),
        0x1_0000..0x1_0000_0000 => (Width::Long, i64::from(i32::MAX)),
        _ => return None,
    };
    // Where half of the numbers are enough they count from the least.
    let base = if range <= positive { least } else { least.checked_add(positive + 1)? };
    Some(Fit { base, slope, width })
}

#[cfg(test)]
mod tests {
    use metricsd_model::STALE_NAN_BITS;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53

    #[track_caller]
    fn check(values: &[f64]) -> Shape {
        let shape = Shape::of(values);
        if let Shape::Whole(whole) = &shape {
            let read: Vec<u64> = whole.values().map(f64::to_bits).collect();
            assert_eq!(read, values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
        shape
    }

    fn line(shape: Shape) -> (Line, &'static str) {
        match shape {
            Shape::Whole(Whole { line, numbers: Numbers::Short(_) }) => (line, "short"),
            Shape::Whole(Whole { line, numbers: Numbers::Long(_) }) => (line, "long"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_of_one_step_are_whole_numbers() {
        let of = |value: fn(i32) -> f64| line(check(&(0..240).map(value).collect::<Vec<_>>()));
        assert_eq!(of(|n| f64::from(n % 7)), (Line { base: 0.0, slope: 0.0, scale: 1.0 }, "short"));
        assert_eq!(of(|n| f64::from(n % 7) / 100.0), (Line { base: 0.0, slope: 0.0, scale: 100.0 }, "short"));
        let pages = of(|n| f64::from(40_000 - n % 3) * 4096.0);
        assert_eq!(pages, (Line { base: 39_998.0, slope: 0.0, scale: 1.0 / 4096.0 }, "short"));
        let nanos = of(|n| f64::from(60_000_000 + n * n * 17 % 1_000_003) / 1e9);
        assert_eq!(nanos.0.scale, 1e9);
        assert_eq!(nanos.1, "long");
    }

    #[test]
    fn counters_are_told_by_what_is_left_beside_a_line() {
        let values: Vec<f64> = (0..240).map(|n| 1e12 + f64::from(n) * 15_000.0 + f64::from(n % 5)).collect();
        let (line, width) = line(check(&values));
        assert_eq!((line.slope, width), (15_000.0, "short"));
    }

    #[test]
    fn what_never_changes_is_one_value() {
        for value in [0.0, -0.0, 1.0, f64::NAN, f64::from_bits(STALE_NAN_BITS), f64::INFINITY, 0.1 + 0.2] {
            let Shape::Constant(read) = check(&[value; 240]) else { panic!("{value}") };
            assert_eq!(read.to_bits(), value.to_bits());
        }
        assert_eq!(check(&[]), Shape::Floats);
        assert_eq!(check(&[1.0]), Shape::Floats);
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let mut values: Vec<f64> = (0..20).map(f64::from).collect();
        assert!(matches!(check(&values), Shape::Whole(_)));
        assert_eq!(check(&values[..FEWEST - 1]), Shape::Floats, "too few");
        for odd in
            [-0.0, f64::NAN, f64::from_bits(STALE_NAN_BITS), f64::INFINITY, 1.0 / 3.0, 1e300, 1e-300, 4e9]
        {
            values[7] = odd;
            let expected = if odd == 4e9 { "whole" } else { "floats" };
            let found = if check(&values) == Shape::Floats { "floats" } else { "whole" };
            assert_eq!(found, expected, "{odd}");
        }
        values[7] = EXACT;
        assert_eq!(check(&values), Shape::Floats, "too far apart");
    }

    proptest! {
        #[test]
        fn all_bits_survive(values in vec(any::<u64>(), 0..40)) {
            check(&values.iter().map(|bits| f64::from_bits(*bits)).collect::<Vec<f64>>());
        }

        #[test]
        fn series_survive(
            start in -(1i64 << 54)..(1i64 << 54),
            steps in vec(prop_oneof![Just(0i64), -9i64..9, 0i64..5_000_000, any::<i64>()], 8..60),
            scale in prop_oneof![Just(1.0), Just(100.0), Just(1e9), Just(1.0 / 4096.0), Just(3.0)],
        ) {
            let mut at = start;
            let values: Vec<f64> = steps.iter().map(|step| {
                at = at.wrapping_add(*step);
                at as f64 / scale
            }).collect();
            check(&values);
        }

        #[test]
        fn decimals_are_whole(steps in vec(-9_999i64..9_999, 8..60), digits in 0i32..10) {
            let values: Vec<f64> = steps.iter().map(|step| *step as f64 / 10f64.powi(digits)).collect();
            if values.iter().any(|value| *value != values[0]) {
                prop_assert!(matches!(check(&values), Shape::Whole(_)));
            }
        }
    }
}
