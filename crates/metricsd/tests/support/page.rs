//! Targets of our own: a page that tests can change, and a window on a real exporter that counts what it served.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use parking_lot::Mutex;

/// A target whose page is set by the test.
pub struct PageTarget {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    page: String,
    status: u16,
    served: u64,
}

impl PageTarget {
    pub async fn start(page: &str) -> Self {
        let state = Arc::new(Mutex::new(State { page: page.to_owned(), status: 200, served: 0 }));
        let shared = state.clone();
        let answer = move || {
            let mut state = shared.lock();
            state.served += 1;
            let page = state.page.replace("$SERIAL", &state.served.to_string());
            let status = StatusCode::from_u16(state.status).unwrap();
            async move { (status, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page) }
        };
        let url = serve(Router::new().route("/metrics", get(answer))).await;
        Self { url, state }
    }

    /// `$SERIAL` in a page stands for the number of the request.
    pub fn set(&self, page: &str) {
        self.state.lock().page = page.to_owned();
    }

    pub fn set_status(&self, status: u16) {
        self.state.lock().status = status;
    }

    pub fn served(&self) -> u64 {
        self.state.lock().served
    }
}

/// Stands before a real exporter and remembers how many samples each of its pages held.
pub struct Window {
    pub url: String,
    pages: Arc<Mutex<Vec<String>>>,
}

impl Window {
    pub async fn start(exporter: String) -> Self {
        let pages = Arc::new(Mutex::new(Vec::new()));
        let (seen, client) = (pages.clone(), super::client());
        let answer = move || {
            let (seen, client, exporter) = (seen.clone(), client.clone(), exporter.clone());
            async move {
                let page = client.get(&exporter).send().await.unwrap().text().await.unwrap();
                seen.lock().push(page.clone());
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page)
            }
        };
        let url = serve(Router::new().route("/metrics", get(answer))).await;
        Self { url, pages }
    }

    /// Samples of each page served so far.
    pub fn samples(&self) -> Vec<usize> {
        let samples =
            |page: &String| page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        self.pages.lock().iter().map(samples).collect()
    }

    pub fn last_page(&self) -> String {
        self.pages.lock().last().cloned().unwrap_or_default()
    }
}

pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/metrics")
}
