//! Floods of one sender: what they leave in the logs is bounded, and says how much was left out.

use mgmt_api::AgentMessage;

use crate::support::{
    controller::Controller,
    limit::Limit,
    native::{NativeClient, data_of},
    session::Session,
};

const REQUESTS: usize = 20_000;
/// Without a limit it would be several times as much.
const BYTES_MAX: usize = 1024 * 1024;

#[test]
fn a_flood_of_requests_leaves_some_lines_and_their_sum() {
    let mut controller = Controller::start(&["--name", "controller"]);
    let mut session = Session::open(controller.websocket());
    let limit = Limit::new("answers to a flood of requests");
    for _ in 0..REQUESTS {
        session.instances();
        limit.left();
    }
    drop(session);
    let remains = controller.stop();
    let [(_, management_log)] = remains.management_logs.as_slice() else {
        panic!("{:?}", remains.management_logs)
    };
    let requests = format!("\"requests\":{REQUESTS}");
    assert!(remains.stderr.contains(&requests), "every request is counted");
    for (what, log) in [
        ("standard error", &remains.stderr),
        ("management log", management_log),
    ] {
        assert!(log.len() < BYTES_MAX, "{what}: {} bytes", log.len());
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
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let controller = Controller::start(&["--name", "controller"]);
    let connections = 200;
    runtime.block_on(async {
        for number in 0..connections {
            let peer = NativeClient::connect(&controller).await;
            for hello in 0..9 {
                let hello = AgentMessage::Hello {
                    instance: format!("instance-{number}-{hello}").into(),
                    id: "another".into(),
                    connecting: true,
                    api_version: mgmt_api::API_VERSION,
                };
                peer.publish("zeek/management/agent/x", &data_of(&hello)).await;
            }
            peer.endpoint.shutdown().await;
        }
    });
    let remains = controller.stop();
    let [(_, management_log)] = remains.management_logs.as_slice() else {
        panic!("{:?}", remains.management_logs)
    };
    for (what, log) in [
        ("standard error", &remains.stderr),
        ("management log", management_log),
    ] {
        assert!(log.len() < BYTES_MAX, "{what}: {} bytes", log.len());
        assert!(log.contains("more within 10 s"), "{what}");
    }
}
