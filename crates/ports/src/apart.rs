//! Storing a batch of joined pushes push by push, where a store refuses it as a whole for good.

use std::sync::Arc;

use metricsd_model::{Batch, BatchId};

use crate::PortError;

/// The pushes of a batch on their way into a store: as many at once as it takes, down to single ones. Whoever goes this way
/// appends what [`Self::next_group`] gives, and says what the store refuses. Pushes that are stored by then are known by
/// their ids, so that the way can be gone again from its beginning.
#[derive(Debug)]
pub struct Apart {
    whole: Arc<Batch>,
    /// Groups that were not tried yet, the next one last.
    waiting: Vec<Vec<Arc<Batch>>>,
    refused: Vec<BatchId>,
    error: Option<PortError>,
}

impl Apart {
    /// Begins; `None` where the batch is not joined of several pushes.
    pub fn of(whole: &Arc<Batch>) -> Option<Self> {
        let is_joined = whole.joined.len() > 1;
        is_joined.then(|| {
            let all: Vec<Arc<Batch>> = whole.apart().into_iter().map(Arc::new).collect();
            Self { whole: whole.clone(), waiting: halves(all), refused: Vec::new(), error: None }
        })
    }

    /// What is to be appended now; `None` where all pushes are through.
    pub fn next_group(&mut self) -> Option<Vec<Arc<Batch>>> {
        self.waiting.pop()
    }

    /// A group that was given is to come again: the store does not take it now.
    pub fn again(&mut self, group: Vec<Arc<Batch>>) {
        self.waiting.push(group);
    }

    /// The store refuses a group that was given for good: its halves are next, or it is a push that no store takes.
    pub fn refused(&mut self, group: Vec<Arc<Batch>>, error: PortError) {
        match group.as_slice() {
            [] => {}
            [one] => {
                self.refused.push(one.id);
                self.error.get_or_insert(error);
            }
            _ => self.waiting.extend(halves(group)),
        }
    }

    /// What is left when all pushes are through: those that were refused by themselves, as one batch, and why the first of
    /// them was.
    pub fn left(self) -> Option<(Arc<Batch>, PortError)> {
        let error = self.error?;
        let left = self.whole.without(|id| !self.refused.contains(&id))?;
        Some((Arc::new(left), error))
    }
}

/// The first of them last.
fn halves(mut all: Vec<Arc<Batch>>) -> Vec<Vec<Arc<Batch>>> {
    let second = all.split_off(all.len().div_ceil(2));
    let mut halves = vec![second, all];
    halves.retain(|half| !half.is_empty());
    halves
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use metricsd_model::{JoinedPush, Layout};

    use super::*;
    use crate::ErrorKind;
    use crate::conformance::fixtures::{NOON, batch, frame, series};

    /// A batch of so many pushes of two samples each.
    fn joined(count: u64) -> Arc<Batch> {
        let all = (0..2 * count).map(|n| series("m", &[("n", &n.to_string())])).collect();
        let values: Vec<f64> = (0..2 * count).map(|n| n as f64).collect();
        let mut whole = batch("t", "whole", vec![frame(&Layout::inline(all), NOON, &values)]);
        let push = |n| JoinedPush { id: BatchId(n), columns: vec![2], exemplars: 0, families: 0 };
        Arc::make_mut(&mut whole).joined = (0..u128::from(count)).map(push).collect();
        whole
    }

    #[test]
    fn what_is_refused_by_itself_is_left_and_all_else_is_stored() {
        for (count, bad) in
            [(2u64, vec![1u128]), (1_000, vec![0, 7, 8, 999]), (3, vec![]), (3, vec![0, 1, 2])]
        {
            let whole = joined(count);
            let mut apart = Apart::of(&whole).expect("it is joined");
            let (mut stored, mut asked, mut once_away) = (Vec::new(), 0, false);
            while let Some(group) = apart.next_group() {
                asked += 1;
                if !std::mem::replace(&mut once_away, true) {
                    apart.again(group);
                } else if group.iter().any(|push| bad.contains(&push.id.0)) {
                    apart.refused(group, PortError::new(ErrorKind::Invalid, "no"));
                } else {
                    stored.extend(group);
                }
            }
            assert!(asked <= 3 + 22 * bad.len(), "{asked} questions for {} that are refused", bad.len());
            let expected: Vec<u128> = (0..u128::from(count)).filter(|id| !bad.contains(id)).collect();
            assert_eq!(stored.iter().map(|push| push.id.0).collect::<Vec<_>>(), expected, "in their order");
            for push in &stored {
                let (values, first) = (&push.frames[0].values, push.id.0 as f64 * 2.0);
                assert_eq!((values.as_slice(), push.joined.len()), ([first, first + 1.0].as_slice(), 1));
            }
            let left = apart.left().map(|(batch, _)| batch);
            let left_ids: Vec<u128> =
                left.iter().flat_map(|batch| &batch.joined).map(|push| push.id.0).collect();
            assert_eq!(left_ids, bad);
            assert_eq!(left.map_or(0, |batch| batch.samples()), 2 * bad.len());
        }
        assert!(Apart::of(&joined(1)).is_none());
    }
}
