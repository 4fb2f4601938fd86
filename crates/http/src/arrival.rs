//! How pushes arrive: what is slow to come holds up nobody else.
//!
//! Only so many pushes are read, unpacked and prepared at once ([`Shared::pushes`]). A body gets its slot when it has come as a
//! whole, so that a sender that dribbles holds none. Until then small ones wait in memory, bounded by the number of
//! requests, and larger ones have a place of their own ([`Shared::large`]) from the byte on that makes them so, which they
//! hold until they are through, and for which they have to come at a pace.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use metricsd_ingest::arrival::{SMALL, due};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::Problem;
use crate::api::Shared;
use crate::body::{self, BodyLimits, Incoming, Refused};

/// A push's place among those at work.
pub(crate) struct Slot<'a> {
    _push: Option<SemaphorePermit<'a>>,
    _large: Option<SemaphorePermit<'a>>,
}

/// A push that is all there.
pub(crate) struct Arrived<'a> {
    body: Bytes,
    large: Option<SemaphorePermit<'a>>,
}

impl<'a> Arrived<'a> {
    /// Waits until it may be worked on.
    pub(crate) async fn admitted(self, shared: &'a Shared) -> (Bytes, Slot<'a>) {
        let push = shared.pushes.acquire().await.ok();
        (self.body, Slot { _push: push, _large: self.large })
    }
}

/// Waits until a push has arrived, packed as it is, and may be worked on.
pub(crate) async fn whole<'a>(
    shared: &'a Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Slot<'a>), Problem> {
    let (arrived, ()) = in_turn(shared, headers, body, async {}).await?;
    Ok(arrived.admitted(shared).await)
}

/// Waits until a push has arrived whose turn has to come too: it is waited for by small ones that are all there, and by larger
/// ones before they take their place, of which others would have none meanwhile.
pub(crate) async fn in_turn<'a, T>(
    shared: &'a Shared,
    headers: &HeaderMap,
    body: Body,
    turn: impl Future<Output = T>,
) -> Result<(Arrived<'a>, T), Problem> {
    let limits = BodyLimits::of(&shared.api);
    let declared = body::declared(headers, &limits)?;
    let began = Instant::now();
    let mut incoming = Incoming::new(body);
    let small = async {
        while incoming.length() <= SMALL {
            if !incoming.more(&limits).await? {
                return Ok(true);
            }
        }
        Ok::<_, Problem>(false)
    };
    let there = timeout_at(began + limits.patience, small).await;
    let there = there.map_err(|_| limits.told(Refused::TooSlow(limits.patience)))??;
    let turn = turn.await;
    let mut large = None;
    if !there {
        large = shared.large.acquire().await.ok();
        let began = Instant::now();
        incoming.expect(declared);
        loop {
            let (last, due) = (began + limits.patience, due(began, incoming.length()));
            let late = if last < due { Refused::TooSlow(limits.patience) } else { Refused::NoPace };
            let more = timeout_at(due.min(last), incoming.more(&limits)).await;
            if !more.map_err(|_| limits.told(late))?? {
                break;
            }
        }
    }
    Ok((Arrived { body: incoming.into_bytes(), large }, turn))
}
