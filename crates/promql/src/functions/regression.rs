//! regression

use super::{RangeContext, Window};
use crate::value::PointValue;

pub(super) fn deriv(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn double_exponential_smoothing(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn predict_linear(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}
