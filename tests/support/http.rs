//! HTTP on a daemon's control socket, byte by byte.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::Value;

/// A connection from an address of this host.
pub(crate) fn connection_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddrV4::new(from, 0)).expect("all of 127/8 is ours");
    connect(&socket, &to).expect("it listens");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time");
    stream
}

/// What is answered to these bytes by the daemon that works in this directory, until it ends the connection.
pub(crate) fn answer(directory: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(directory.join("control.sock")).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time");
    // It may have answered, and be gone, before it has read all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

pub(crate) fn request(directory: &Path, line: &str, body: &str) -> String {
    request_with(directory, line, "", body)
}

/// With further header fields, each with its line's end.
pub(crate) fn request_with(directory: &Path, line: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    answer(directory, text.as_bytes())
}

/// The answer has this status, and says this.
#[track_caller]
pub(crate) fn assert_problem(answer: &str, status: u16, words: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(
        answer.contains("content-type: application/problem+json"),
        "{answer}"
    );
    assert!(
        answer.contains(&format!(r#""status":{status},"#)) && answer.contains(words),
        "{answer}"
    );
}

/// The head and the body of the answer to a `GET`.
pub(crate) fn get(directory: &Path, path: &str) -> (String, String) {
    let answer = request(directory, &format!("GET {path}"), "");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// What keeps the daemon from being ready. It lives in any case.
#[track_caller]
pub(crate) fn failing(directory: &Path) -> Vec<String> {
    let (head, body) = get(directory, "/livez");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && body == "ok\n",
        "{head}"
    );
    let (head, body) = get(directory, "/readyz");
    if head.starts_with("HTTP/1.1 200 OK\r\n") {
        assert_eq!(body, "ok\n");
        return Vec::new();
    }
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    let problem: Value = serde_json::from_str(&body).expect("JSON");
    let errors = problem["errors"].as_array().expect("a list").iter();
    let errors: Vec<String> = errors.map(|error| error.as_str().expect("text").into()).collect();
    let detail = format!("not ready: {}", errors.join("; "));
    assert_eq!(problem["detail"], detail.as_str());
    errors
}
