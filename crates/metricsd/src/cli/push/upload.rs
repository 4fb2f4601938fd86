//! Sends a file in parts, goes on where a broken connection left it, and follows its job to the end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use metricsd_files::{Compression, FileFormat};
use metricsd_model::hex::hex;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::client::Client;
use super::super::failure::{Exit, Failure};
use super::super::output::{self, Format, cell};

/// Bytes of one request.
const PART: usize = 4 << 20;

/// How often a part is sent again before it is given up, and the pause before the first time; it doubles.
const TRIES: u32 = 8;
const REFUSALS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

/// How often a part is sent again to a server that is only busy, and how long a pause it may ask for.
const BUSY: u32 = 100;
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long the last part may take: the server reads the whole file back before it answers.
const LAST_PART: Duration = Duration::from_secs(3_600);

/// How often the job is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What is sent, and how.
pub(super) struct Upload<'a> {
    /// Path, or `-`.
    pub(super) file: &'a str,
    pub(super) format: FileFormat,
    pub(super) source_id: Option<&'a str>,
    /// Do not wait for the job.
    pub(super) detach: bool,
    pub(super) output: Format,
}

/// The format of a file, where it is one that is uploaded: as said, or by the file's name.
pub(super) fn format_of(file: &str, said: Option<&str>) -> Result<Option<FileFormat>, Failure> {
    match said {
        None => Ok(FileFormat::from_file_name(file)),
        Some("json") => Ok(None),
        Some(name) => FileFormat::from_name(name).map(Some).ok_or_else(|| {
            Failure::usage("--format: expected json, csv, ndjson, openmetrics, prometheus or parquet")
        }),
    }
}

impl Upload<'_> {
    /// Sends, and shows what became of it.
    pub(super) async fn run(&self, client: &Client) -> Result<Exit, Failure> {
        let job = match self.file {
            "-" => self.send(client, &mut io::stdin().lock(), None).await?,
            path => {
                let unreadable = |error| Failure::usage(format!("{path} cannot be read: {error}"));
                let mut file = File::open(path).map_err(unreadable)?;
                let whole = hash(&mut file).map_err(unreadable)?;
                self.send(client, &mut file, Some(whole)).await?
            }
        };
        let job = if self.detach { job } else { follow(client, job).await? };
        let mut out = io::stdout().lock();
        match self.output {
            Format::Json => output::print_json(&mut out, &job)?,
            Format::Table => print(&mut out, &job)?,
        }
        Ok(exit(&job))
    }

    /// Sends the bytes; answers the job.
    async fn send(
        &self,
        client: &Client,
        reader: &mut dyn Stream,
        whole: Option<Whole>,
    ) -> Result<Value, Failure> {
        let compression = Compression::of_file_name(self.file).1;
        let mut query = vec![
            ("resumable", "true".to_owned()),
            ("format", self.format.as_str().to_owned()),
            ("compression", compression.as_str().to_owned()),
        ];
        query.extend(self.source_id.map(|source| ("source_id", source.to_owned())));
        query.extend(whole.as_ref().map(|whole| ("sha256", whole.sha256.clone())));
        let begun = client.send(client.request(Method::POST, &["upload"]).query(&query)).await?.value;
        if begun["job_id"].is_string() {
            return Ok(begun);
        }
        let id = cell(&begun["upload_id"]);
        let mut at = begun["received"].as_u64().unwrap_or(0);
        let unreadable = |error| Failure::failed(format!("{} cannot be read: {error}", self.file));
        reader.go_to(at).map_err(unreadable)?;
        let bar = bar("sending", whole.as_ref().map_or(0, |whole| whole.size));
        loop {
            bar.set_position(at);
            let mut part = Vec::new();
            (&mut *reader).take(PART as u64).read_to_end(&mut part).map_err(unreadable)?;
            let last = part.len() < PART;
            let answer = send_part(client, &id, at, &part, last).await?;
            if answer["job_id"].is_string() {
                bar.finish_and_clear();
                return Ok(answer);
            }
            at += part.len() as u64;
        }
    }
}

/// What bytes come from.
trait Stream: Read {
    /// Goes to a place.
    fn go_to(&mut self, at: u64) -> io::Result<()>;
}

impl Stream for File {
    fn go_to(&mut self, at: u64) -> io::Result<()> {
        self.seek(SeekFrom::Start(at)).map(drop)
    }
}

impl Stream for io::StdinLock<'_> {
    fn go_to(&mut self, at: u64) -> io::Result<()> {
        io::copy(&mut self.by_ref().take(at), &mut io::sink()).map(drop)
    }
}

/// A file's size and hash, by which the server knows it again.
struct Whole {
    size: u64,
    sha256: String,
}

fn hash(file: &mut File) -> io::Result<Whole> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(Whole { size, sha256: hex(&hasher.finalize()) })
}

/// Sends a part, again where the connection breaks. Of a part that came through in pieces the rest is sent.
async fn send_part(client: &Client, id: &str, at: u64, part: &[u8], last: bool) -> Result<Value, Failure> {
    let (mut sent, mut pause, mut attempt, mut busy) = (0, PAUSE, 0, 0);
    loop {
        let rest = part.get(sent..).unwrap_or_default().to_vec();
        let query = [("offset", (at + sent as u64).to_string()), ("complete", last.to_string())];
        let request = client.request(Method::PUT, &["upload", id]).query(&query);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").body(rest);
        let sending = async {
            if last { client.send_within(request, LAST_PART).await } else { client.send(request).await }
        };
        let failure = match sending.await {
            Ok(answer) => return Ok(answer.value),
            Err(failure) => failure,
        };
        if let Some(wait) = failure.retry_after() {
            busy += 1;
            if busy == BUSY {
                return Err(failure);
            }
            tokio::time::sleep(wait.clamp(PAUSE, LONGEST_PAUSE)).await;
        } else {
            attempt += 1;
            if attempt == TRIES || (failure.is_refusal() && attempt == REFUSALS) {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        // How much came through; nobody may be there to say so yet.
        if let Ok(seen) = client.send(client.request(Method::GET, &["upload", id])).await {
            let received = seen.value["received"].as_u64().unwrap_or(at);
            match received.checked_sub(at).and_then(|sent| usize::try_from(sent).ok()) {
                Some(there) if there <= part.len() => sent = there,
                _ => return Err(failure),
            }
        }
    }
}

fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:8} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = ProgressBar::new(length).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Waits until a job is over; a server that is away for a moment is asked again.
async fn follow(client: &Client, mut job: Value) -> Result<Value, Failure> {
    let id = cell(&job["job_id"]);
    let bar = bar("storing", job["received_bytes"].as_u64().unwrap_or(0));
    let mut failures = 0;
    loop {
        bar.set_position(job["progress"]["bytes"].as_u64().unwrap_or(0));
        if matches!(job["state"].as_str(), Some("done" | "dead" | "cancelled")) {
            bar.finish_and_clear();
            return Ok(job);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        match client.send(client.request(Method::GET, &["jobs", &id])).await {
            Ok(answer) => (job, failures) = (answer.value, 0),
            Err(failure) if failures == 100 => return Err(failure),
            Err(failure) if failure.is_refusal() && failure.retry_after().is_none() => return Err(failure),
            Err(failure) => {
                failures += 1;
                tokio::time::sleep(failure.retry_after().unwrap_or_default().min(LONGEST_PAUSE)).await;
            }
        }
    }
}

/// All stored, some of it, or nothing.
fn exit(job: &Value) -> Exit {
    let count = |name: &str| job["progress"][name].as_u64().unwrap_or(0);
    match job["state"].as_str() {
        Some("dead" | "cancelled") => Exit::Failed,
        _ if count("errors_total") == 0 => Exit::Done,
        _ if count("stored") == 0 => Exit::Failed,
        _ => Exit::Partial,
    }
}

fn print(out: &mut impl Write, job: &Value) -> io::Result<()> {
    let progress = &job["progress"];
    let mut pairs = vec![
        ("job", cell(&job["job_id"])),
        ("state", cell(&job["state"])),
        ("rows", cell(&progress["rows"])),
        ("stored", cell(&progress["stored"])),
        ("errors", cell(&progress["errors_total"])),
    ];
    if job["error"].is_string() {
        pairs.push(("reason", cell(&job["error"])));
    }
    if job["duplicate"] == true {
        pairs.push(("duplicate", "yes: the same file was sent before, this is its job".to_owned()));
    }
    output::print_pairs(out, &pairs)?;
    let Some(errors) = progress["errors"].as_array().filter(|errors| !errors.is_empty()) else {
        return Ok(());
    };
    let mut table = output::table(&["line", "reason", "message"]);
    for error in errors {
        table.add_row([cell(&error["line"]), cell(&error["reason"]), cell(&error["message"])]);
    }
    writeln!(out)?;
    output::print_table(out, &table)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_exit_code_says_how_much_was_stored() {
        let check = |state: &str, stored: u64, errors: u64, expected: Exit| {
            let job = json!({"state": state, "progress": {"stored": stored, "errors_total": errors}});
            assert_eq!(exit(&job), expected, "{job}");
        };
        check("done", 5, 0, Exit::Done);
        check("done", 5, 1, Exit::Partial);
        check("done", 0, 1, Exit::Failed);
        check("dead", 5, 0, Exit::Failed);
        check("cancelled", 5, 0, Exit::Failed);
        check("queued", 0, 0, Exit::Done);
    }

    #[test]
    fn formats_are_told_by_name() {
        assert!(matches!(format_of("a.csv.gz", None), Ok(Some(FileFormat::Csv))));
        assert!(matches!(format_of("a.json", None), Ok(None)));
        assert!(matches!(format_of("-", Some("ndjson")), Ok(Some(FileFormat::Ndjson))));
        assert!(matches!(format_of("a.csv", Some("json")), Ok(None)));
        assert!(format_of("a.csv", Some("xml")).is_err());
    }

    /// Answers one request after another: so many times that it is busy, then as metricsd does.
    async fn busy_server(listener: tokio::net::TcpListener, refusals: u32) -> u32 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for number in 0.. {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 << 10];
            let read = connection.read(&mut request).await.unwrap();
            let (status, body) = match (request[..read].starts_with(b"GET"), number < 2 * refusals) {
                (true, _) => ("200 OK", r#"{"received": 0}"#),
                (false, true) => ("503 Service Unavailable\r\nRetry-After: 0", r#"{"title": "busy"}"#),
                (false, false) => ("202 Accepted", r#"{"job_id": "x"}"#),
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
            if status.starts_with("202") {
                return number;
            }
        }
        0
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again_when_it_says() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        // More often than one that refuses is.
        let refusals = REFUSALS + 2;
        let server = tokio::spawn(busy_server(listener, refusals));
        let job =
            send_part(&client, "x", 0, b"a", true).await.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(job["job_id"], "x");
        // Each refusal was followed by the question how much came through.
        assert_eq!(server.await.unwrap(), 2 * refusals);
    }
}
