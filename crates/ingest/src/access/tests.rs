use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{AccessToken, Quota};

use super::*;

struct Fixture {
    store: Arc<MemoryStore>,
    access: Arc<Access>,
}

impl Fixture {
    fn new(options: AccessOptions) -> Self {
        let store = Arc::new(MemoryStore::new());
        let access = Access::new(store.clone(), options, AccessMetrics::default());
        Self { store, access }
    }

    async fn token(&self, rights: &[Right], change: impl FnOnce(&mut AccessToken)) -> String {
        let made = NewToken::generate().unwrap();
        let mut token = AccessToken {
            id: made.id,
            name: "t".to_owned(),
            digest: made.digest,
            rights: Rights::new(rights.iter().copied()),
            source_id: None,
            quota: Quota::default(),
            created_at: now(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        change(&mut token);
        self.store.create_token(&token).await.unwrap();
        self.access.refresh().await.unwrap();
        made.text.expose().to_owned()
    }

    fn check(&self, presented: Option<&str>, right: Right) -> Result<Caller, &'static str> {
        self.access.check(presented, right, Door::Elsewhere).map_err(|denied| denied.reason())
    }
}

#[tokio::test]
async fn each_right_is_its_own() {
    let fixture = Fixture::new(AccessOptions::default());
    let pusher = fixture.token(&[Right::Push], |_| {}).await;
    let manager = fixture.token(&[Right::Manage], |_| {}).await;
    assert!(fixture.check(Some(&pusher), Right::Push).is_ok());
    assert_eq!(fixture.check(Some(&pusher), Right::Read), Err("missing_right"));
    assert!(fixture.check(Some(&manager), Right::Read).is_ok());
    assert_eq!(fixture.check(None, Right::Push), Err("no_token"));
    assert_eq!(fixture.check(Some(""), Right::Push), Err("no_token"));
    let mut other = pusher.clone();
    let last = other.pop().unwrap();
    other.push(if last == '0' { '1' } else { '0' });
    for wrong in [other.as_str(), "mtk_", "mtk_x_y", "secret", &pusher[..40]] {
        assert_eq!(fixture.check(Some(wrong), Right::Push), Err("unknown_token"), "{wrong}");
    }
}

#[tokio::test]
async fn doors_are_open_or_not() {
    let open = |required, open, door| {
        Fixture::new(AccessOptions { required, open, bootstrap: None }).access.is_open(door)
    };
    assert!(open(false, false, Door::Loopback) && !open(false, false, Door::Elsewhere));
    assert!(open(false, true, Door::Loopback) && open(false, true, Door::Elsewhere));
    assert!(!open(true, false, Door::Loopback) && !open(true, true, Door::Elsewhere));
    let door = |address: &str| Door::of(address.parse().unwrap());
    assert_eq!(door("127.0.0.1:1"), Door::Loopback);
    assert_eq!(door("[::1]:1"), Door::Loopback);
    assert_eq!(door("[::ffff:127.0.0.1]:1"), Door::Loopback);
    assert_eq!(door("0.0.0.0:1"), Door::Elsewhere);
    assert_eq!(door("192.0.2.1:1"), Door::Elsewhere);
}

#[tokio::test]
async fn an_open_door_knows_tokens_all_the_same() {
    let fixture = Fixture::new(AccessOptions { open: true, ..AccessOptions::default() });
    let token = fixture.token(&[Right::Push], |token| token.source_id = Some("node".into())).await;
    assert_eq!(fixture.check(Some("what another service asks for"), Right::Manage), Ok(Caller::anonymous()));
    let caller = fixture.check(Some(&token), Right::Push).unwrap();
    assert!(caller.token_id().is_some());
    assert_eq!(fixture.check(Some(&token), Right::Read), Err("missing_right"));
    assert_eq!(caller.source(None).unwrap().as_deref(), Some("node"));
    assert_eq!(caller.source(Some("node".into())).unwrap().as_deref(), Some("node"));
    assert_eq!(caller.source(Some("other".into())).unwrap_err().reason(), "other_source");
    assert_eq!(Caller::anonymous().source(Some("other".into())).unwrap().as_deref(), Some("other"));
}

#[tokio::test]
async fn tokens_end_where_streams_hold_them_too() {
    let fixture = Fixture::new(AccessOptions::default());
    let token = fixture.token(&[Right::Push], |_| {}).await;
    let ended = fixture.token(&[Right::Push], |token| token.expires_at = Some(now() - 1)).await;
    assert_eq!(fixture.check(Some(&ended), Right::Push), Err("expired_token"));
    let caller = fixture.check(Some(&token), Right::Push).unwrap();
    assert_eq!(caller.check(), Ok(()));
    fixture.store.revoke_token(caller.token_id().unwrap(), 1).await.unwrap();
    assert_eq!(caller.check(), Ok(()), "not known yet");
    fixture.access.refresh().await.unwrap();
    assert_eq!(caller.check().unwrap_err().reason(), "revoked_token");
    assert_eq!(fixture.check(Some(&token), Right::Push), Err("revoked_token"));
}

#[tokio::test]
async fn the_configured_token_may_do_all_before_any_other_is_known() {
    let bootstrap = Some(Secret::new("a long text of the operator"));
    let fixture = Fixture::new(AccessOptions { bootstrap, ..AccessOptions::default() });
    for right in Right::ALL {
        assert!(fixture.check(Some("a long text of the operator"), right).is_ok());
    }
    let denied = fixture.access.check(Some("another"), Right::Push, Door::Elsewhere).unwrap_err();
    assert_eq!(denied.kind(), DeniedKind::Unavailable, "nothing was read so far");
}

#[tokio::test]
async fn quotas_are_used_up_and_survive_changes_of_other_tokens() {
    let fixture = Fixture::new(AccessOptions::default());
    let quota =
        Quota { samples_per_second: Some(1), active_series: Some(2), body_bytes_per_second: Some(100) };
    let token = fixture.token(&[Right::Push], |token| token.quota = quota).await;
    let caller = fixture.check(Some(&token), Right::Push).unwrap();
    caller.take_samples(10).unwrap();
    fixture.token(&[Right::Push], |_| {}).await;
    let again = fixture.check(Some(&token), Right::Push).unwrap();
    let denied = again.take_samples(5).unwrap_err();
    assert_eq!((denied.kind(), denied.reason()), (DeniedKind::Limited, "samples_quota"));
    assert_eq!(denied.retry_after(), Some(Duration::from_secs(5)));
    again.put_back_samples(5);
    again.take_samples(5).unwrap();
    assert!(again.counts_bytes());
    again.take_bytes(1_000).unwrap();
    assert_eq!(again.take_bytes(500).unwrap_err().retry_after(), Some(Duration::from_secs(5)));
    assert!(again.take_streamed_bytes(100) > Duration::from_millis(900));
    let ids = |ids: &[u64]| ids.iter().map(|id| metricsd_model::SeriesId(id << 8)).collect::<Vec<_>>();
    again.admit_series(ids(&[1, 2, 1]).into_iter()).unwrap();
    assert_eq!(again.admit_series(ids(&[2, 3]).into_iter()).unwrap_err().reason(), "series_quota");
}

#[tokio::test]
async fn uses_are_noted() {
    let fixture = Fixture::new(AccessOptions::default());
    let token = fixture.token(&[Right::Push], |_| {}).await;
    let last = async || fixture.store.tokens().await.unwrap()[0].last_used_at;
    fixture.access.note_uses().await;
    assert_eq!(last().await, None);
    let before = now();
    fixture.check(Some(&token), Right::Push).unwrap();
    fixture.access.note_uses().await;
    assert!(last().await.unwrap() >= before);
}

#[test]
fn credentials_come_in_three_forms() {
    let check = |header: &str, expected: &str| {
        assert_eq!(credential(Some(header.as_bytes())).as_deref(), Some(expected), "{header}");
    };
    check("Bearer t", "t");
    check("bearer  t ", "t");
    check("Token t", "t");
    check("Basic dXNlcjpwYTpzcw==", "pa:ss");
    check("Basic OnRva2Vu", "token");
    check("Basic dXNlcg==", "");
    check("Basic ?", "");
    check("Digest x", "");
    check("", "");
    assert_eq!(credential(Some(b"Bearer \xff")).as_deref(), Some("\u{fffd}"));
    assert_eq!(credential(None), None);
}

#[test]
fn tokens_are_never_shown() {
    let made = NewToken::generate().unwrap();
    assert!(!format!("{made:?}").contains(made.text.expose()));
    assert_eq!(digest_of(made.text.expose()), made.digest);
    assert_eq!(made.text.expose().len(), 4 + 32 + 1 + 64);
    let other = NewToken::generate().unwrap();
    assert!(other.digest != made.digest && other.id != made.id);
}

/// A push of a sample of each of these series.
fn batch(names: &[&str]) -> metricsd_model::Batch {
    let store = Arc::new(MemoryStore::new());
    let metrics = crate::IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let cache = Arc::new(metricsd_ports::memory::MemoryCache::new(1 << 20));
    let (after, _) = crate::AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
    let (commit, _) = crate::GroupCommit::start(store, crate::CommitOptions::default(), metrics, after, stop);
    let ingest = crate::Ingest::new(commit, Arc::new(crate::Limits::default()));
    let mut body = metricsd_codec::remote_write::BodyWriter::new();
    for name in names {
        body.series().label("__name__", name).sample(now(), 1.0);
    }
    let origin = crate::WriteOrigin::new("s", crate::Protocol::Custom);
    let body = body.into_bytes();
    let request = crate::WriteRequest { origin: &origin, body: &body, received_at: now() };
    ingest.read_write(request).unwrap().batch().unwrap().clone()
}

#[tokio::test]
async fn what_is_refused_takes_nothing_of_any_quota_and_who_has_no_token_any_more_stores_nothing() {
    let fixture = Fixture::new(AccessOptions::default());
    let quota = Quota { samples_per_second: Some(1), active_series: Some(5), body_bytes_per_second: None };
    let token = fixture.token(&[Right::Push], |token| token.quota = quota).await;
    let caller = fixture.check(Some(&token), Right::Push).unwrap();
    let may = |batch: &metricsd_model::Batch, samples| {
        crate::remote_write::may_store(&caller, Some(batch), samples).map_err(|denied| denied.reason())
    };
    // Ten seconds' worth may come at once.
    caller.take_samples(7).unwrap();
    assert_eq!(may(&batch(&["a", "b", "c", "d"]), 4), Err("samples_quota"));
    assert_eq!(may(&batch(&["e", "f", "g"]), 1), Ok(()), "the four are not active");
    assert_eq!(may(&batch(&["h", "i", "j"]), 2), Err("series_quota"));
    assert_eq!(may(&batch(&["e", "f"]), 2), Ok(()), "the two samples are not used up");
    fixture.store.revoke_token(caller.token_id().unwrap(), 1).await.unwrap();
    fixture.access.refresh().await.unwrap();
    assert_eq!(may(&batch(&["e"]), 0), Err("revoked_token"));
}
