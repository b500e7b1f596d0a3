//! What users of the control socket's group take they do not take from the daemon's own user and root.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

use rustix::{
    process::{Uid, geteuid},
    thread::set_thread_uid,
};

use super::agent_for_group;
use crate::support::http::assert_problem;

const BODY: usize = 16 * 1024 * 1024;

/// So many connections of another user, who is in the group as we are, each with this beginning of a request.
fn connections_of(uid: u32, socket: &Path, count: usize, begin: &str) -> Vec<UnixStream> {
    let (socket, begin) = (socket.to_owned(), begin.to_owned());
    let connecting = thread::spawn(move || {
        set_thread_uid(Uid::from_raw(uid)).expect("root may be any user");
        let connect = |_| {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            // One that is refused may be closed by now.
            let _ = stream.write_all(begin.as_bytes());
            stream
        };
        (0..count).map(connect).collect()
    });
    connecting.join().expect("it connects")
}

/// What is answered to a request of root's.
fn of_root(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

const ABOUT: &str = "GET /v1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn users_of_the_group_leave_others_places() {
    if !geteuid().is_root() {
        return;
    }
    let (_directory, agent, socket) = agent_for_group();
    let mut held = Vec::new();
    for (uid, places) in [(65534, 16), (65533, 16), (65532, 0)] {
        let mut theirs = connections_of(uid, &socket, 64, "GET /v1 HTT");
        // They are accepted in order: all of these are, when this is answered.
        let about = of_root(&socket, ABOUT);
        assert!(about.starts_with("HTTP/1.1 200 OK"), "{about}");
        theirs.retain_mut(|stream| {
            stream.set_nonblocking(true).expect("a mode");
            let mut answer = [0; 4096];
            match stream.read(&mut answer) {
                Ok(length) => {
                    let answer = String::from_utf8_lossy(&answer[..length]);
                    assert_problem(&answer, 503, "one user of the group may have 16");
                    false
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    true
                }
            }
        });
        assert_eq!(theirs.len(), places, "{uid}");
        held.extend(theirs);
    }
    // A head has to come in its time: its connection would last a minute otherwise.
    for mut stream in held {
        stream.set_nonblocking(false).expect("a mode");
        let mut end = Vec::new();
        let _ = stream.read_to_end(&mut end);
    }
    let again = connections_of(65532, &socket, 1, ABOUT).remove(0);
    let mut status = String::new();
    BufReader::new(again).read_line(&mut status).expect("an answer");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    agent.daemon.stop();
}

#[test]
fn bodies_are_read_of_those_who_may_change_something_as_far_as_there_is_memory() {
    if !geteuid().is_root() {
        return;
    }
    let (_directory, agent, socket) = agent_for_group();
    let begin = format!(
        "POST /v1/nodes/stop HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {BODY}\r\n\r\n"
    );
    let status = |uid| {
        let mut stream = BufReader::new(connections_of(uid, &socket, 1, &begin).remove(0));
        let mut status = String::new();
        stream.read_line(&mut status).expect("an answer");
        (status, stream)
    };
    assert_eq!(status(65534).0, "HTTP/1.1 403 Forbidden\r\n");
    let mut open = Vec::new();
    for _ in 0..4 {
        let (status, stream) = status(0);
        assert_eq!(status, "HTTP/1.1 100 Continue\r\n");
        open.push(stream);
    }
    assert!(status(0).0.starts_with("HTTP/1.1 503 "));
    agent.daemon.stop();
}
