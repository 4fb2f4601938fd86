//! The command line as a whole: what it takes, and how it ends.

use std::io::{Read, Write};
use std::net::TcpListener;

use clap::{CommandFactory, Parser};

use super::*;

fn environment(url: &str) -> Environment {
    Environment::from([(URL_VARIABLE.to_owned(), url.to_owned())])
}

fn run(arguments: &[&str], environment: &Environment) -> Result<Exit, (Exit, String)> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::try_parse_from(["metricsd"].iter().chain(arguments)).unwrap();
    cli.command.dispatch(environment).map_err(|failure| {
        let (exit, message) = failure.parts();
        (exit, message.to_owned())
    })
}

/// A server that gives one answer to each connection, and says what it was asked.
fn server(
    answers: &'static [(&'static str, &'static str)],
) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        let answer = |(head, body): &(&str, &str)| {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = vec![0; 64 * 1024];
            let length = socket.read(&mut request).unwrap();
            let head =
                format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(body.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned()
        };
        answers.iter().map(answer).collect()
    };
    (url, std::thread::spawn(serve))
}

#[test]
fn the_definition_holds_and_every_command_teaches() {
    let mut command = Cli::command();
    command.clone().debug_assert();
    let help = command.render_help().to_string();
    for code in ["0  done", "1  refused", "2  the command line", "3  the server", "4  partly"] {
        assert!(help.contains(code), "--help lacks {code}");
    }
    for path in [
        &["run"][..],
        &["query"],
        &["push"],
        &["events"],
        &["stats"],
        &["target", "add"],
        &["config", "keys"],
    ] {
        let found =
            path.iter().fold(Cli::command(), |command, name| command.find_subcommand(name).unwrap().clone());
        let help = found.clone().render_help().to_string();
        assert!(help.contains("Example"), "{path:?} has no example");
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    for wrong in [
        &["fly"][..],
        &["query"],
        &["query", "up", "--time", "now", "--start", "1h"],
        &["query", "up", "--step", "1m"],
        &["target", "rm"],
        &["target", "add", "a", "--user", "me"],
        &["target", "add", "a", "--label", "x"],
        &["events", "--limit", "0"],
        &["run", "--log-format", "xml"],
    ] {
        let error = Cli::try_parse_from(["metricsd"].iter().chain(wrong)).unwrap_err();
        assert_eq!(error.exit_code(), Exit::Usage as i32, "{wrong:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_exit_3() {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let (exit, message) = run(&["stats"], &environment(&url)).unwrap_err();
    assert_eq!(exit, Exit::Unreachable);
    assert!(message.starts_with(&format!("cannot reach {url}/: ")), "{message}");
    // The flag goes before the variable.
    let (exit, _) = run(&["stats", "--url", "nonsense"], &environment(&url)).unwrap_err();
    assert_eq!(exit, Exit::Usage);
}

#[test]
fn a_refusal_is_exit_1_and_says_why() {
    let (url, asked) =
        server(&[("404 Not Found", r#"{"title": "t", "detail": "there is no target of this id"}"#)]);
    let refused = run(&["target", "show", "a b"], &environment(&url)).unwrap_err();
    assert_eq!(refused, (Exit::Failed, "there is no target of this id".to_owned()));
    assert_eq!(asked.join().unwrap(), ["GET /api/v1/metrics/targets/a%20b HTTP/1.1"]);
    let (url, _) = server(&[("502 Bad Gateway", "<html>")]);
    let (exit, message) = run(&["stats"], &environment(&url)).unwrap_err();
    assert_eq!(
        (exit, message),
        (Exit::Failed, format!("{url}/ answered 502 Bad Gateway, and not as metricsd does"))
    );
}

#[test]
fn partly_done_is_exit_4() {
    let (url, _) = server(&[("200 OK", r#"{"batch_id": "b", "accepted": 1, "rejected": 1, "errors": []}"#)]);
    let folder = crate::testing::TempDir::new();
    let file = folder.write("m.json", "[{}, {}]");
    let exit = run(&["push", file.to_str().unwrap(), "--source-id", "x y"], &environment(&url));
    assert_eq!(exit, Ok(Exit::Partial));
    let (url, asked) =
        server(&[("200 OK", r#"{"deleted": true}"#), ("404 Not Found", r#"{"title": "gone"}"#)]);
    assert_eq!(run(&["target", "rm", "a", "b"], &environment(&url)), Ok(Exit::Partial));
    let expected = ["a", "b"].map(|id| format!("DELETE /api/v1/metrics/targets/{id} HTTP/1.1"));
    assert_eq!(asked.join().unwrap(), expected);
}

#[test]
fn lists_follow_the_cursor() {
    let (url, asked) =
        server(&[("200 OK\r\nx-next-cursor: n1", r#"[{"target_id": "a"}]"#), ("200 OK", "[]")]);
    let done = run(&["target", "list", "--label", "env=prod"], &environment(&url));
    assert_eq!(done, Ok(Exit::Done));
    let first = "GET /api/v1/metrics/targets?limit=1000&label=env%3Aprod HTTP/1.1";
    let second = "GET /api/v1/metrics/targets?limit=1000&label=env%3Aprod&cursor=n1 HTTP/1.1";
    assert_eq!(asked.join().unwrap(), [first, second]);
}

#[test]
fn events_end_with_their_number_or_with_the_server() {
    let (url, _) = server(&[("200 OK", "data: {\"timestamp\": \"now\"}\n\ndata: {}\n\n")]);
    assert_eq!(run(&["events", "--limit", "2"], &environment(&url)), Ok(Exit::Done));
    let (url, _) = server(&[("200 OK", "data: {}\n\n")]);
    let ended = run(&["events", "-o", "json"], &environment(&url)).unwrap_err();
    assert_eq!(ended, (Exit::Unreachable, "the server ended the stream".to_owned()));
}

#[test]
fn a_wrong_configuration_is_exit_2() {
    let wrong = Environment::from([("METRICSD_LISTEN".to_owned(), "here".to_owned())]);
    let (exit, message) = run(&["config", "check"], &wrong).unwrap_err();
    assert_eq!(exit, Exit::Usage);
    assert!(message.contains("METRICSD_LISTEN: listen: expected host:port"), "{message}");
    assert_eq!(run(&["config", "print", "--output", "json"], &Environment::new()), Ok(Exit::Done));
    assert_eq!(run(&["config", "keys"], &Environment::new()), Ok(Exit::Done));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let gone = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!(gone.parts(), (Exit::Done, ""));
    let full = Failure::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert_eq!(full.parts().0, Exit::Failed);
}
