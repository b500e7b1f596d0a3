//! Floods of one sender: what they leave in the logs is bounded, and says how much was left out.

use std::time::{Duration, Instant};

use mgmt_api::{AgentMessage, ClientRequest};

use crate::support::{
    controller::Controller,
    limit::Limit,
    peer::{Peer, data_of},
    runtime,
    session::Session,
};

const REQUESTS: usize = 100_000;
const UNDER_WAY: usize = 50;
/// For how long lines are counted, in seconds, as the sums say.
const INTERVAL: u64 = 10;
/// What may be written in an interval. A flood that takes one interval would leave 20 MB without a limit.
const BYTES_MAX: u64 = 512 * 1024;

/// How much a flood may leave that took so long.
fn bytes_max(took: Duration) -> u64 {
    BYTES_MAX * (2 + took.as_secs() / INTERVAL)
}

#[test]
fn a_flood_of_requests_leaves_some_lines_and_their_sum() {
    let mut controller = Controller::start::<&str>(&[]);
    let started = Instant::now();
    let mut session = Session::open(controller.websocket());
    let limit = Limit::new("answers to a flood of requests");
    let request = ClientRequest::GetInstances {
        reqid: "flood".into(),
    };
    for _ in 0..REQUESTS / UNDER_WAY {
        for _ in 0..UNDER_WAY {
            session.send(&request);
        }
        for _ in 0..UNDER_WAY {
            session.response();
        }
        limit.left();
    }
    drop(session);
    let remains = controller.stop();
    let bytes_max = bytes_max(started.elapsed());
    let management_log = remains.management_log();
    let requests = format!("\"requests\":{REQUESTS}");
    assert!(remains.stderr.contains(&requests), "every request is counted");
    for (what, log) in [
        ("standard error", &remains.stderr),
        ("management log", &management_log),
    ] {
        assert!((log.len() as u64) < bytes_max, "{what}: {} bytes", log.len());
        let sums: Vec<_> = log
            .lines()
            .filter(|line| line.contains("more within 10 s"))
            .collect();
        assert!(!sums.is_empty(), "{what}: nothing is summed up");
        assert!(
            sums.iter()
                .all(|line| line.contains("client") || line.contains("127.0.0.1")),
            "{what}: {sums:?}"
        );
    }
}

#[test]
fn a_flood_of_refused_hellos_leaves_some_lines_and_their_sum() {
    let controller = Controller::start::<&str>(&[]);
    let started = Instant::now();
    // A fifth of what mgmt-bench attacks with: a peer is disconnected after ten hellos, and connecting takes most of the time.
    let connections = 200;
    for number in 0..connections {
        let peer = Peer::client_of(&controller);
        for hello in 0..9 {
            let hello = AgentMessage::Hello {
                instance: format!("instance-{number}-{hello}").into(),
                id: "another".into(),
                connecting: true,
                api_version: mgmt_api::API_VERSION,
            };
            peer.publish("zeek/management/agent/x", &data_of(&hello));
        }
        runtime().block_on(peer.endpoint.shutdown());
    }
    let remains = controller.stop();
    let bytes_max = bytes_max(started.elapsed());
    let management_log = remains.management_log();
    for (what, log) in [
        ("standard error", &remains.stderr),
        ("management log", &management_log),
    ] {
        assert!((log.len() as u64) < bytes_max, "{what}: {} bytes", log.len());
        assert!(log.contains("more within 10 s"), "{what}");
    }
}
