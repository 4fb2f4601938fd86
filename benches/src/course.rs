//! How values come about: the same run always has the same, and sums of them are exact, since they are whole numbers.

/// How a value comes about.
#[derive(Clone, Copy)]
pub(crate) enum Course {
    /// Grows by between so much and so much a step.
    Counter(u64, u64),
    /// Grows as [`Course::Counter`] in one stretch of steps out of so many, and rests in the others.
    Idle(u64, u64, u32),
    /// Grows by one once in so many steps.
    Rare(u64),
    /// Goes up and down below so much, each value apart from the one before.
    Gauge(u64),
    /// Walks up and down around so much, by at most so much a step.
    Walk(f64, u64),
    /// Changes to another value below so much once in so many steps.
    Level(u64, u64),
    /// Stays.
    Constant(f64),
}

/// Steps that a series rests or works in one go.
const STRETCH: u32 = 20;

/// One series' values: the last one, and the seed of what comes.
pub(crate) struct Source {
    course: Course,
    state: u64,
    value: f64,
    step: u32,
}

impl Source {
    /// The values of the series that stands at a place; other places have other values.
    pub(crate) fn new(course: Course, place: usize) -> Self {
        let state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(place as u64 + 1);
        let value = match course {
            Course::Walk(around, _) => around,
            Course::Level(most, _) => (state % most) as f64,
            Course::Constant(value) => value,
            _ => 0.0,
        };
        Self { course, state, value, step: (state >> 32) as u32 % 1024 }
    }

    /// The next value.
    pub(crate) fn next(&mut self) -> f64 {
        // xorshift64: cheap, and good enough that values do not compress better than real ones.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.step += 1;
        let state = self.state;
        let grown = |least: u64, most: u64| (least + state % (most - least + 1)) as f64;
        match self.course {
            Course::Counter(least, most) => self.value += grown(least, most),
            Course::Idle(least, most, of) if (self.step / STRETCH).is_multiple_of(of) => {
                self.value += grown(least, most);
            }
            Course::Rare(steps) if state.is_multiple_of(steps) => self.value += 1.0,
            Course::Gauge(most) => self.value = (state % most) as f64,
            Course::Walk(around, most) => {
                let back = ((around - self.value) / 64.0).trunc();
                let to = self.value + back + (state % (2 * most + 1)) as f64 - most as f64;
                self.value = to.max(0.0);
            }
            Course::Level(most, steps) if state.is_multiple_of(steps) => {
                self.value = ((state >> 20) % most) as f64;
            }
            Course::Idle(..) | Course::Rare(_) | Course::Level(..) | Course::Constant(_) => {}
        }
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::{Course, Source};

    fn values(course: Course) -> Vec<f64> {
        let mut source = Source::new(course, 7);
        (0..1000).map(|_| source.next()).collect()
    }

    #[test]
    fn counters_only_grow() {
        for course in [Course::Counter(0, 300), Course::Idle(1, 50, 4), Course::Rare(100)] {
            let values = values(course);
            assert!(values.is_sorted());
            assert!(values.last() > values.first());
        }
    }

    #[test]
    fn values_are_whole_numbers() {
        for course in [Course::Gauge(1 << 40), Course::Walk(4e9, 1 << 20), Course::Level(1000, 10)] {
            assert!(values(course).iter().all(|value| *value >= 0.0 && value.fract() == 0.0));
        }
    }

    #[test]
    fn idle_counters_rest() {
        let values = values(Course::Idle(1, 50, 4));
        let rests = values.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((600..900).contains(&rests), "{rests}");
    }
}
