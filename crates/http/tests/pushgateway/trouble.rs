//! Stores that are away, and who waits for whom.

use super::*;

/// A sink that may be away, or never answer.
struct Moody {
    store: Arc<MemoryStore>,
    mood: AtomicU8,
}

const THERE: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;

impl Moody {
    fn over(store: &Arc<MemoryStore>, mood: u8) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), mood: AtomicU8::new(mood) })
    }

    fn be(&self, mood: u8) {
        self.mood.store(mood, Ordering::Relaxed);
    }
}

#[async_trait]
impl SampleSink for Moody {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        match self.mood.load(Ordering::Relaxed) {
            THERE => self.store.append(batches).await,
            AWAY => Err(PortError::new(ErrorKind::Unavailable, "away")),
            _ => std::future::pending().await,
        }
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_group_no_longer_has_ends_though_the_store_was_away() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, THERE);
    let gateway = over(store, sink.clone(), GatewayOptions::default(), false, |_| {});
    gateway.push("PUT", "/metrics/job/j", "a 1\nb 2\n").await;
    sink.be(AWAY);
    assert_eq!(gateway.send("PUT", "/metrics/job/j", "a 3\n").await.status, 503);
    let groups = gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(groups[0]["families"].as_array().unwrap().len(), 2, "nothing was changed: {groups}");
    sink.be(THERE);
    gateway.push("PUT", "/metrics/job/j", "a 3\n").await;
    assert_eq!(gateway.found("j").await, [r#"{"__name__":"a"} 3"#]);
    sink.be(AWAY);
    assert_eq!(gateway.send("DELETE", "/metrics/job/j", "").await.status, 503);
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json().as_array().unwrap().len(), 1);
    sink.be(THERE);
    assert_eq!(gateway.send("DELETE", "/metrics/job/j", "").await.status, 202);
    assert_eq!(gateway.found("j").await, Vec::<String>::new());
    assert_eq!(gateway.service.get("/api/v1/metrics/groups").await.json(), json!([]));
}

#[tokio::test]
async fn a_lapsed_group_stays_while_the_store_is_away() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, THERE);
    let options = GatewayOptions { interval: Duration::from_millis(20), ..GatewayOptions::default() };
    let gateway = over(store, sink.clone(), options, false, |_| {});
    gateway.push("PUT", "/metrics/job/j?expire_after=1ms", "a 1\n").await;
    sink.be(AWAY);
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.gateway.clone().run(gateway.store.clone(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let groups = async || gateway.service.get("/api/v1/metrics/groups").await.json();
    assert_eq!(groups().await.as_array().unwrap().len(), 1);
    sink.be(THERE);
    for _ in 0..200 {
        if groups().await == json!([]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!((groups().await, gateway.found("j").await), (json!([]), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_group_takes_no_place_of_others() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, SILENT);
    let one = |api: &mut Api| api.settings.max_concurrent_pushes = 1;
    let gateway = Arc::new(over(store, sink, GatewayOptions::default(), false, one));
    let waiting = gateway.clone();
    let waiting =
        tokio::spawn(async move { waiting.send("PUT", "/metrics/job/j", "a 1\n").await.status.as_u16() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = gateway.send("POST", "/api/v1/metrics/custom", "not json").await;
    assert_eq!((answer.status.as_u16(), waiting.is_finished()), (400, false));
    assert_eq!(waiting.await.unwrap(), 503);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_takes_none_of_other_large_pushes() {
    let store = Arc::new(MemoryStore::new());
    let sink = Moody::over(&store, SILENT);
    let one = |api: &mut Api| api.settings.max_concurrent_pushes = 1;
    let gateway = Arc::new(over(store, sink, GatewayOptions::default(), false, one));
    let large = "#".repeat(100 << 10);
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            // The first sixteen are at work; the others have large pages.
            let page = if number < 16 { "a 1\n".to_owned() } else { format!("{large}\na 1\n") };
            let gateway = gateway.clone();
            let uri = format!("/metrics/job/j{number}");
            tokio::spawn(async move { gateway.send("PUT", &uri, page).await.status.as_u16() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = gateway.send("POST", "/api/v1/metrics/custom", large.clone()).await;
    assert_eq!((answer.status.as_u16(), waiting.iter().any(|push| push.is_finished())), (400, false));
    for push in waiting {
        assert_eq!(push.await.unwrap(), 503);
    }
}

#[tokio::test(start_paused = true)]
async fn who_dribbles_takes_no_place_of_other_groups() {
    let gateway = Arc::new(pushed());
    for number in 0..40 {
        let gateway = gateway.clone();
        let body = stream::once(async { Ok::<_, std::io::Error>("a ") }).chain(stream::pending());
        let uri = format!("/metrics/job/j{number}");
        tokio::spawn(async move { gateway.send("PUT", &uri, Body::from_stream(body)).await });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let push = gateway.push("PUT", "/metrics/job/k", "a 1\n");
    tokio::time::timeout(Duration::from_secs(1), push).await.expect("there is a place");
}
