//! Values of a segment as small whole numbers, where they are multiples of one step: counts, hundredths, nanoseconds, pages.
//!
//! `value = (base + slope * place + number) / scale`, places counted from 0. A number is one of 1, 2 or 4 bytes, or such a
//! one and a byte above it: `low + high * 256`, `* 65536` or `* 4294967296`. What is written is read back first: where any
//! bit would differ, the values stay floats.

use metricsd_codec::pack::whole_numbers;

use super::squeeze::squeezed;

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
    /// The lower bytes of numbers, one a value.
    pub low: Low,
    /// The byte above those, one a value; `None` where it is 0 for all.
    pub high: Option<Vec<i8>>,
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

/// Numbers of one width, signed.
#[derive(Debug, Clone, PartialEq)]
pub enum Low {
    /// One byte each.
    One(Vec<i8>),
    /// Two bytes each.
    Two(Vec<i16>),
    /// Four bytes each.
    Four(Vec<i32>),
}

/// How many bytes each number of [`Low`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
}

impl Line {
    /// The value that a number stands for at a place. SQL calculates the same in the same order.
    pub fn value(&self, place: usize, number: f64) -> f64 {
        (self.base + self.slope * place as f64 + number) / self.scale
    }
}

impl Width {
    fn bits(self) -> u32 {
        match self {
            Self::One => 8,
            Self::Two => 16,
            Self::Four => 32,
        }
    }

    /// What the byte above numbers of this width counts.
    pub fn unit(self) -> f64 {
        (1u64 << self.bits()) as f64
    }
}

impl Shape {
    /// The smallest form of these values.
    pub fn of(values: &[f64]) -> Self {
        if let Some(value) = constant(values) {
            return Self::Constant(value);
        }
        match (values.len() >= FEWEST).then(|| whole(values)).flatten() {
            Some(whole) => Self::Whole(whole),
            None => Self::Floats,
        }
    }
}

/// The value that all of several are, to the bit.
pub fn constant(values: &[f64]) -> Option<f64> {
    let (first, rest) = values.split_first()?;
    let are_equal = !rest.is_empty() && rest.iter().all(|value| value.to_bits() == first.to_bits());
    are_equal.then_some(*first)
}

fn whole(values: &[f64]) -> Option<Whole> {
    let (scale, wholes) = whole_numbers(values)?;
    let (first, last) = (*wholes.first()?, *wholes.last()?);
    // Counters grow, and what is left beside a line is smaller than how far they get. What mostly rests does so beside
    // no line but a flat one.
    let slope = (last - first) / (wholes.len() as i64 - 1).max(1);
    let mut forms = Vec::new();
    for slope in [Some(0), (slope != 0).then_some(slope)].into_iter().flatten() {
        let Some(beside) = Beside::of(&wholes, slope) else { continue };
        let wholes = beside.forms().filter_map(|form| beside.whole(form, scale));
        forms.extend(wholes.map(|whole| (whole.costs(), whole)));
    }
    forms.sort_by_key(|(costs, _)| *costs);
    let same =
        |whole: &Whole| whole.values().map(f64::to_bits).eq(values.iter().map(|value| value.to_bits()));
    forms.into_iter().map(|(_, whole)| whole).find(same)
}

impl Whole {
    /// The values as they will be read.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let unit = self.low.width().unit();
        let high = self.high.iter().flatten().copied().chain(std::iter::repeat(0));
        let numbers = self.low.floats().into_iter().zip(high);
        numbers
            .enumerate()
            .map(move |(place, (low, high))| self.line.value(place, low + f64::from(high) * unit))
    }

    /// Bytes that the arrays take in a row, roughly, and what makes up for reading two of them.
    fn costs(&self) -> usize {
        let low = stored(&self.low.bytes());
        match &self.high {
            None => low,
            Some(high) => {
                let both = low + stored(&high.iter().map(|high| *high as u8).collect::<Vec<_>>());
                both + both / 4
            }
        }
    }
}

/// Bytes that an array takes in a row: as it is, or compressed.
fn stored(elements: &[u8]) -> usize {
    /// What stands before the elements; compressed, it is about as large.
    const HEADER: usize = 24;
    HEADER + squeezed(elements)
}

impl Low {
    /// One number for each value.
    pub fn len(&self) -> usize {
        match self {
            Self::One(numbers) => numbers.len(),
            Self::Two(numbers) => numbers.len(),
            Self::Four(numbers) => numbers.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How wide they are.
    pub fn width(&self) -> Width {
        match self {
            Self::One(_) => Width::One,
            Self::Two(_) => Width::Two,
            Self::Four(_) => Width::Four,
        }
    }

    fn of(width: Width, numbers: impl Iterator<Item = i64>) -> Option<Self> {
        Some(match width {
            Width::One => Self::One(numbers.map(|number| i8::try_from(number).ok()).collect::<Option<_>>()?),
            Width::Two => Self::Two(numbers.map(|number| i16::try_from(number).ok()).collect::<Option<_>>()?),
            Width::Four => {
                Self::Four(numbers.map(|number| i32::try_from(number).ok()).collect::<Option<_>>()?)
            }
        })
    }

    fn floats(&self) -> Vec<f64> {
        match self {
            Self::One(numbers) => numbers.iter().copied().map(f64::from).collect(),
            Self::Two(numbers) => numbers.iter().copied().map(f64::from).collect(),
            Self::Four(numbers) => numbers.iter().copied().map(f64::from).collect(),
        }
    }

    /// As they lie in memory of the database.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::One(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::Two(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::Four(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        }
    }
}

/// How numbers are laid out.
#[derive(Debug, Clone, Copy)]
struct Form {
    width: Width,
    high: bool,
}

/// From the narrowest on.
const FORMS: [Form; 6] = [
    Form { width: Width::One, high: false },
    Form { width: Width::Two, high: false },
    Form { width: Width::One, high: true },
    Form { width: Width::Two, high: true },
    Form { width: Width::Four, high: false },
    Form { width: Width::Four, high: true },
];

impl Form {
    /// How far apart its numbers may be at most.
    fn reach(self) -> i64 {
        let bits = self.width.bits() + if self.high { i8::BITS } else { 0 };
        (1 << bits) - 1
    }

    /// How much above the least of numbers so far apart those count from that are stored.
    fn above_least(self, range: i64) -> i64 {
        let half = 1 << (self.width.bits() - 1);
        match (self.high, range) {
            // Where half of the numbers are enough they count from the least.
            (false, range) if range < half => 0,
            (false, _) => half,
            // All numbers of the width from the least on have the same byte above them.
            (true, range) if range >> self.width.bits() <= i64::from(i8::MAX) => half,
            (true, _) => half + (1 << (self.width.bits() + i8::BITS - 1)),
        }
    }
}

/// What is left of whole numbers beside a line.
struct Beside<'w> {
    wholes: &'w [i64],
    slope: i64,
    least: i64,
    range: i64,
}

impl<'w> Beside<'w> {
    fn of(wholes: &'w [i64], slope: i64) -> Option<Self> {
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        for (place, whole) in (0..).zip(wholes) {
            let beside = whole.checked_sub(slope.checked_mul(place)?)?;
            (least, most) = (least.min(beside), most.max(beside));
        }
        Some(Self { wholes, slope, least, range: most.checked_sub(least)? })
    }

    /// Forms that might be the smallest: the narrowest, and where that or the next has a byte above the others the next,
    /// too, as such bytes are mostly alike and then nearly vanish.
    fn forms(&self) -> impl Iterator<Item = Form> {
        let range = self.range;
        let mut fitting = FORMS.into_iter().filter(move |form| range <= form.reach());
        let first = fitting.next();
        let second = fitting.next().filter(|second| first.is_some_and(|first| first.high != second.high));
        first.into_iter().chain(second)
    }

    fn whole(&self, form: Form, scale: f64) -> Option<Whole> {
        let base = self.least.checked_add(form.above_least(self.range))?;
        let numbers =
            (0..).zip(self.wholes).map(|(place, whole): (i64, &i64)| whole - self.slope * place - base);
        let bits = form.width.bits();
        let high = |number: i64| if form.high { (number + (1 << (bits - 1))) >> bits } else { 0 };
        let low = Low::of(form.width, numbers.clone().map(|number| number - (high(number) << bits)))?;
        let high = match form.high {
            true => Some(numbers.map(|number| i8::try_from(high(number)).ok()).collect::<Option<_>>()?),
            false => None,
        };
        let line = Line { base: base as f64, slope: self.slope as f64, scale };
        Some(Whole { line, low, high })
    }
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
        let Shape::Whole(Whole { line, low, high }) = shape else { panic!("{shape:?}") };
        let form = match (low.width(), high.is_some()) {
            (Width::One, false) => "1",
            (Width::One, true) => "1 + 1",
            (Width::Two, false) => "2",
            (Width::Two, true) => "2 + 1",
            (Width::Four, false) => "4",
            (Width::Four, true) => "4 + 1",
        };
        (line, form)
    }

    #[test]
    fn values_of_one_step_are_whole_numbers() {
        let of = |value: fn(i32) -> f64| line(check(&(0..240).map(value).collect::<Vec<_>>()));
        assert_eq!(of(|n| f64::from(n % 7)), (Line { base: 0.0, slope: 0.0, scale: 1.0 }, "1"));
        assert_eq!(of(|n| f64::from(n % 7) / 100.0), (Line { base: 0.0, slope: 0.0, scale: 100.0 }, "1"));
        let pages = of(|n| f64::from(40_000 - n % 3) * 4096.0);
        assert_eq!(pages, (Line { base: 39_998.0, slope: 0.0, scale: 1.0 / 4096.0 }, "1"));
        let nanos = of(|n| f64::from(60_000_000 + n * n * 17 % 1_000_003) / 1e9);
        assert_eq!(nanos.0.scale, 1e9);
        assert_eq!(nanos.1, "2 + 1");
    }

    #[test]
    fn counters_are_told_by_what_is_left_beside_a_line() {
        let values: Vec<f64> = (0..240).map(|n| 1e12 + f64::from(n) * 15_000.0 + f64::from(n % 5)).collect();
        let (line, width) = line(check(&values));
        assert_eq!((line.slope, width), (15_000.0, "1"));
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

    #[test]
    fn a_form_holds_as_much_as_it_says() {
        for form in FORMS {
            let whole = |range: i64| {
                let wholes = [-5, range - 5, -5 + range / 2, -5 + range / 3];
                let whole = Beside::of(&wholes, 0).and_then(|beside| beside.whole(form, 1.0));
                whole.map(|whole| {
                    (whole.values().collect::<Vec<_>>(), wholes.map(|whole| whole as f64).to_vec())
                })
            };
            let reach = form.reach();
            for range in [0, 1, reach / 2 - 1, reach / 2, reach / 2 + 1, reach / 2 + 2, reach - 1, reach] {
                let (read, expected) = whole(range).unwrap_or_else(|| panic!("{form:?} of {range}"));
                assert_eq!(read, expected, "{form:?} of {range}");
            }
            assert_eq!(whole(reach + 1), None, "{form:?}");
        }
    }

    #[test]
    fn a_byte_above_is_told_by_itself_where_it_saves_much() {
        let mut state = 1u64;
        let mut noise = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut of = |step: fn(u64) -> u64, below: u64| {
            let values: Vec<f64> = (0..240).map(|n| (step(n) + noise(below)) as f64).collect();
            line(check(&values)).1
        };
        assert_eq!(of(|_| 0, 200), "1");
        assert_eq!(of(|_| 0, 60_000), "2");
        assert_eq!(of(|n| n / 120 * 1_000, 200), "1 + 1");
        assert_eq!(of(|_| 0, 10_000_000), "2 + 1");
        assert_eq!(of(|_| 0, 4_000_000_000), "4");
        assert_eq!(of(|_| 0, 900_000_000_000), "4 + 1");
        // What rests repeats itself whole, beside no line.
        assert_eq!(of(|n| n / 40 * 2_000_011, 1), "4");
    }

    proptest! {
        #[test]
        fn all_bits_survive(values in vec(any::<u64>(), 0..40)) {
            check(&values.iter().map(|bits| f64::from_bits(*bits)).collect::<Vec<f64>>());
        }

        #[test]
        fn series_survive(
            start in -(1i64 << 54)..(1i64 << 54),
            steps in vec(prop_oneof![Just(0i64), -9i64..9, 0i64..5_000_000, 0i64..1 << 34, any::<i64>()], 8..60),
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
