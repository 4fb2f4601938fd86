//! A real API server with an etcd of its own, where their programs are installed (`scripts/services.sh kubernetes`).

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use metricsd_client::client::Request;
use metricsd_client::header::{CONTENT_TYPE, HeaderValue};
use metricsd_client::{AddressPolicy, Context, HeaderMap, HttpClient};
use metricsd_model::{HttpAuth, HttpOptions, Secret, SecretSource, TlsOptions};
use serde_json::{Value, json};
use url::Url;

const TOKEN: &str = "test-token";

pub struct RealApi {
    folder: PathBuf,
    programs: PathBuf,
    etcd: Child,
    server: Option<Child>,
    etcd_url: String,
    port: u16,
    client: HttpClient,
}

impl RealApi {
    /// Starts both; `None` where they are not installed.
    pub async fn start(name: &str) -> Option<Self> {
        let programs = PathBuf::from(std::env::var_os("METRICSD_TEST_PEERS_DIR")?);
        if !programs.join("kube-apiserver").exists() || !programs.join("etcd").exists() {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("metricsd-kubernetes-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
        let key =
            Command::new("openssl").args(["genrsa", "-out"]).arg(folder.join("sa.key")).arg("2048").output();
        assert!(key.unwrap().status.success(), "openssl makes a key");
        let (etcd_url, peer_url) =
            (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
        let etcd = Command::new(programs.join("etcd"))
            .args(["--name", "t", "--data-dir"])
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &etcd_url, "--advertise-client-urls", &etcd_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("t={peer_url}"), "--unsafe-no-fsync"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = HttpClient::new(&options(), &context()).unwrap();
        let mut api = Self { folder, programs, etcd, server: None, etcd_url, port: free_port(), client };
        api.start_server().await;
        Some(api)
    }

    /// Starts the API server again after `kill_server`, on the same port and with the same objects.
    pub async fn start_server(&mut self) {
        let log = std::fs::File::create(self.folder.join("server.log")).unwrap();
        let server = Command::new(self.programs.join("kube-apiserver"))
            .arg(format!("--etcd-servers={}", self.etcd_url))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--cert-dir={}", self.folder.join("certs").display()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", self.folder.join("sa.key").display()))
            .arg(format!("--service-account-signing-key-file={}", self.folder.join("sa.key").display()))
            .arg("--service-cluster-ip-range=10.0.0.0/16")
            .arg(format!("--token-auth-file={}", self.folder.join("tokens.csv").display()))
            .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        for _ in 0..600 {
            if self.request("GET", "/readyz", None).await.is_ok_and(|(status, _)| status == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the API server is not ready; see {}", self.folder.join("server.log").display());
    }

    /// Ends it without a good-bye.
    pub fn kill_server(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// How the tests ask it.
    pub fn options(&self) -> HttpOptions {
        options()
    }

    /// The bearer token of an administrator.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        self.request_at(method, &format!("{}{path}", self.url()), body).await
    }

    /// Asks another server.
    pub async fn request_at(
        &self,
        method: &str,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let url = Url::parse(url).unwrap();
        let mut headers = HeaderMap::new();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let body = body.map(Value::to_string).unwrap_or_default().into();
        let request = Request {
            method: method.parse().unwrap(),
            url: &url,
            headers,
            body,
            timeout: Duration::from_secs(20),
        };
        let mut answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        let bytes = answer.bytes(16 << 20).await.map_err(|error| error.to_string())?;
        Ok((answer.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn must(&self, method: &str, path: &str, body: Option<&Value>) {
        let (status, answer) = self.request(method, path, body).await.unwrap();
        assert!(status < 300, "{method} {path}: {status} {answer}");
    }

    /// Creates an object, its status too.
    pub async fn create(&self, collection: &str, object: &Value) {
        self.must("POST", collection, Some(object)).await;
        if let Some(status) = object.get("status") {
            let name = object["metadata"]["name"].as_str().unwrap();
            self.patch(&format!("{collection}/{name}/status"), &json!({"status": status})).await;
        }
    }

    pub async fn patch(&self, path: &str, change: &Value) {
        self.must("PATCH", path, Some(change)).await;
    }

    pub async fn delete(&self, path: &str) {
        self.must("DELETE", path, None).await;
    }
}

impl Drop for RealApi {
    fn drop(&mut self) {
        for child in self.server.iter_mut().chain([&mut self.etcd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

pub fn options() -> HttpOptions {
    let credentials = Some(SecretSource::Inline(Secret::new(TOKEN)));
    HttpOptions {
        auth: Some(HttpAuth::Authorization { scheme: "Bearer".into(), credentials }),
        tls: TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() },
        ..HttpOptions::default()
    }
}

fn context() -> Context {
    Context::operator("/", std::sync::Arc::new(AddressPolicy::default()), std::sync::Arc::new(|_| None))
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
