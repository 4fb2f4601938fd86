//! over_time

use super::{RangeContext, Window};
use crate::value::PointValue;

pub(super) fn avg_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn count_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn first_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn last_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn mad_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn max_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn min_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn present_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn quantile_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn stddev_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn stdvar_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn sum_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn ts_of_first_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn ts_of_last_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn ts_of_max_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn ts_of_min_over_time(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}
