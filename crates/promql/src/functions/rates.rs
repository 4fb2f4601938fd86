//! rates

use super::{RangeContext, Window};
use crate::value::PointValue;

pub(super) fn changes(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn delta(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn idelta(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn increase(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn irate(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn rate(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}

pub(super) fn resets(_: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    None
}
