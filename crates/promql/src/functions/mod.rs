//! The functions of the language: their signatures, and what those that look at one series or one value compute.
//!
//! [`TABLE`] is the one list. What needs more than one series or the query's own times ([`Special`]) is carried out by
//! the engine; everything else is a plain function pointer in the table.

mod over_time;
pub(crate) mod rates;
mod table;
mod window;

pub mod buckets;
pub mod labels;
pub mod quantile;
pub mod regression;
pub mod running;
pub mod scalar;

pub use table::TABLE;
pub use window::{RangeContext, Sample, Window};

use metricsd_model::NativeHistogram;

use crate::ast::ValueType;
use crate::value::PointValue;

/// A function's signature and meaning.
#[derive(Debug)]
pub struct Function {
    /// As it is written.
    pub name: &'static str,
    /// Types of its arguments, optional ones included.
    pub args: &'static [ValueType],
    /// How many of the last arguments may be left out.
    pub optional: usize,
    /// Whether the last argument may be repeated any number of times.
    pub repeats: bool,
    /// What it evaluates to.
    pub returns: ValueType,
    /// Only where experimental functions are turned on.
    pub experimental: bool,
    /// What it computes.
    pub kind: Kind,
}

impl PartialEq for Function {
    /// Names are unique.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a function computes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Of each float by itself; histograms are left out.
    Math(fn(f64) -> f64),
    /// Of each float, which is a time in seconds; without an argument of the step's own time.
    Date(fn(f64) -> f64),
    /// Of each histogram by itself; floats are left out.
    Histogram(fn(&NativeHistogram) -> f64),
    /// Of a window of one series at one step.
    Range(RangeFn),
    /// Carried out by the engine.
    Special(Special),
}

/// What a window of one series says; `None`: nothing. The scalar arguments of the function, in their order, are in
/// the context.
pub type RangeFn = fn(&Window<'_>, &RangeContext<'_>) -> Option<PointValue>;

/// Functions that need more than one series, or the query's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // their names in the language say it all
pub enum Special {
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMax,
    ClampMin,
    End,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    Info,
    LabelJoin,
    LabelReplace,
    MaxOf,
    MinOf,
    Pi,
    Range,
    Round,
    Scalar,
    Sort,
    SortByLabel,
    SortByLabelDesc,
    SortDesc,
    Start,
    StartTimestamp,
    Step,
    Time,
    Timestamp,
    Vector,
}

/// The function of a name.
pub fn find(name: &str) -> Option<&'static Function> {
    TABLE.iter().find(|function| function.name == name)
}
