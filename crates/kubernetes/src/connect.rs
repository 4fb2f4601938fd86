//! Clients for the API server, by the settings of a job, a kubeconfig file or the pod we run in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use futures::{FutureExt, future::BoxFuture};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use metricsd_client::client::Request;
use metricsd_client::{ClientError, Context, HttpClient, Response};
use metricsd_discovery::config::KubernetesSd;
use metricsd_model::{HttpAuth, HttpOptions, SecretSource, TlsOptions};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{Service, ServiceBuilder};
use url::Url;

use crate::watch::WATCH_TIMEOUT;

/// Where a pod finds who it is.
const ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than it was asked to a server may hold a watch.
const WATCH_GRACE: Duration = Duration::from_secs(15);

/// A client, the namespace that is our own, and when the server last answered.
pub(crate) struct Connection {
    pub(crate) client: kube::Client,
    pub(crate) own_namespace: Option<String>,
    pub(crate) heard: Heard,
}

/// When each path last answered well.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<HashMap<String, Instant>>>);

impl Heard {
    fn note(&self, path: &str) {
        self.0.lock().insert(path.to_owned(), Instant::now());
    }

    /// Whether a path has answered well since a time.
    pub(crate) fn since(&self, path: &str, time: Instant) -> bool {
        self.0.lock().get(path).is_some_and(|heard| *heard > time)
    }
}

/// Connects as the settings say.
///
/// # Errors
/// A sentence without secrets. Files are read here, so another attempt may do better.
pub(crate) async fn connect(config: &KubernetesSd, context: &Context) -> Result<Connection, String> {
    let heard = Heard::default();
    if let Some(path) = &config.kubeconfig_file {
        return by_kubeconfig(path, heard).await;
    }
    let own_namespace = own_namespace().await;
    let (server, options) = match &config.api_server {
        Some(server) => (server.clone(), config.http.clone()),
        None => (in_cluster(context)?, account(&config.http)),
    };
    let base =
        Url::parse(&server).map_err(|error| format!("the address of the API server is no URL: {error}"))?;
    let http = HttpClient::new(&options, context).map_err(|error| error.to_string())?;
    let requests = tower::service_fn(move |request| request_with(http.clone(), base.clone(), request));
    let service = ServiceBuilder::new().layer(heard.layer()).service(requests);
    let client = kube::Client::new(service, own_namespace.clone().unwrap_or_else(|| "default".to_owned()));
    Ok(Connection { client, own_namespace, heard })
}

async fn by_kubeconfig(path: &str, heard: Heard) -> Result<Connection, String> {
    let problem = |error: String| format!("the kubeconfig file {path} cannot be used: {error}");
    let text = tokio::fs::read_to_string(path).await.map_err(|error| problem(error.to_string()))?;
    let file = Kubeconfig::from_yaml(&text).map_err(|error| problem(error.to_string()))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    let config = config.map_err(|error| problem(error.to_string()))?;
    let own_namespace = Some(config.default_namespace.clone());
    let builder = ClientBuilder::try_from(config).map_err(|error| problem(error.to_string()))?;
    let client = builder.with_layer(&heard.layer()).build();
    Ok(Connection { client, own_namespace, heard })
}

/// The server of the cluster that we run in.
fn in_cluster(context: &Context) -> Result<String, String> {
    let variable = |name: &str| (context.environment)(name).filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
    else {
        return Err(
            "this process does not run in a Kubernetes pod: give api_server or kubeconfig_file".to_owned()
        );
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{port}"))
}

/// The service account of the pod, where the settings do not say who we are. Its token is read again as it is renewed.
fn account(http: &HttpOptions) -> HttpOptions {
    let file = |name: &str| SecretSource::File(format!("{ACCOUNT_FOLDER}/{name}"));
    let token = HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(file("token")) };
    let ca = http.tls.ca.clone().or_else(|| Some(file("ca.crt")));
    HttpOptions {
        auth: http.auth.clone().or(Some(token)),
        tls: TlsOptions { ca, ..http.tls.clone() },
        ..http.clone()
    }
}

async fn own_namespace() -> Option<String> {
    let text = tokio::fs::read_to_string(format!("{ACCOUNT_FOLDER}/namespace")).await.ok()?;
    Some(text.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

/// Makes a request of the Kubernetes client with ours, so that settings mean here what they mean everywhere.
async fn request_with(
    http: HttpClient,
    base: Url,
    request: http::Request<Body>,
) -> Result<http::Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, ClientError>>>>, tower::BoxError>
{
    let (parts, body) = request.into_parts();
    let mut url = base.clone();
    url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), parts.uri.path()));
    url.set_query(parts.uri.query());
    let watches = parts.uri.query().unwrap_or_default().split('&').any(|part| part == "watch=true");
    let timeout = if watches { WATCH_TIMEOUT + WATCH_GRACE } else { LIST_TIMEOUT };
    let body = body.collect().await?.to_bytes();
    let request = Request { method: parts.method, url: &url, headers: parts.headers, body, timeout };
    let answer = http.send(request).await?;
    let mut response = http::Response::new(());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    Ok(response.map(|()| StreamBody::new(frames(answer))))
}

fn frames(answer: Response) -> impl Stream<Item = Result<Frame<Bytes>, ClientError>> {
    stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        match answer.chunk().await {
            Ok(chunk) => chunk.map(|chunk| (Ok(Frame::data(chunk)), Some(answer))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Heard {
    /// Notes each good answer of a service.
    fn layer<S>(&self) -> impl tower::Layer<S, Service = Hearing<S>> + use<S> {
        let heard = self.clone();
        tower::layer::layer_fn(move |inner| Hearing { inner, heard: heard.clone() })
    }
}

/// A service whose good answers are noted.
#[derive(Clone)]
struct Hearing<S> {
    inner: S,
    heard: Heard,
}

impl<S, A, B> Service<http::Request<A>> for Hearing<S>
where
    S: Service<http::Request<A>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<A>) -> Self::Future {
        let heard = self.heard.clone();
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await?;
            if answer.status().is_success() {
                heard.note(&path);
            }
            Ok(answer)
        }
        .boxed()
    }
}
