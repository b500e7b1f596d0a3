//! Each request of Zeek's API by each role, over WebSocket and Broker: answered, or refused with a line of the audit log.

use std::fs;

use broker_codec::{data::Set, json::DataMessage};
use mgmt_api::{
    ClientRequest, Configuration,
    access::Role::{self, Deploy, Read},
    topics,
};

use super::{
    Hub,
    table::{HOLDERS, Holder, Takes::There, may, roles},
};
use crate::support::peer::data_of;

/// Each request of Zeek's API.
fn requests() -> Vec<ClientRequest> {
    let reqid = || "r".into();
    vec![
        ClientRequest::GetInstances { reqid: reqid() },
        ClientRequest::StageConfiguration {
            reqid: reqid(),
            config: Configuration::default(),
        },
        ClientRequest::GetConfiguration {
            reqid: reqid(),
            deployed: false,
        },
        ClientRequest::Deploy { reqid: reqid() },
        ClientRequest::GetNodes { reqid: reqid() },
        ClientRequest::GetIdValue {
            reqid: reqid(),
            id: "x".into(),
            nodes: Set::default(),
        },
        ClientRequest::Restart {
            reqid: reqid(),
            nodes: Set::default(),
        },
        ClientRequest::TestTimeout {
            reqid: reqid(),
            with_state: false,
        },
    ]
}

/// What it takes. One that is added later is missing here, and in [`requests`].
const fn takes(request: &ClientRequest) -> Role {
    match request {
        ClientRequest::GetInstances { .. }
        | ClientRequest::GetConfiguration { .. }
        | ClientRequest::GetNodes { .. }
        | ClientRequest::GetIdValue { .. }
        | ClientRequest::TestTimeout { .. } => Read,
        ClientRequest::StageConfiguration { .. }
        | ClientRequest::Deploy { .. }
        | ClientRequest::Restart { .. } => Deploy,
    }
}

/// Who may ask for that in cluster `default`, of which Zeek's API speaks.
fn may_by_zeeks_api(holder: &Holder, request: &ClientRequest) -> bool {
    may(holder.2, There(takes(request)), "default")
}

/// The words of a refusal.
fn refusal(request: &ClientRequest) -> String {
    format!("this takes the role {} in cluster default", takes(request))
}

#[test]
fn each_role_may_over_websocket_and_broker_what_zeeks_api_takes() {
    let mut hub = Hub::start(&roles(HOLDERS.iter().map(|(_, line, _)| *line)));
    let audit = hub.controller.working_dir("controller").join("audit.log");
    let websocket = hub.controller.websocket();
    let mut refused = 0;
    for holder in HOLDERS {
        let identity = hub.named(holder.0, &[]);
        let mut peer = hub.connect(identity.clone());
        // One that is not refused this is not answered.
        let asked = requests().into_iter().filter(|request| {
            !(matches!(request, ClientRequest::TestTimeout { .. }) && may_by_zeeks_api(holder, request))
        });
        let asked: Vec<ClientRequest> = asked.collect();
        for request in &asked {
            peer.publish(topics::CONTROLLER, &data_of(request));
            let response = peer.response();
            let mut errors = response
                .results()
                .iter()
                .filter_map(|result| result.error.as_ref());
            let is_refused = errors.any(|error| error.to_string().contains(&refusal(request)));
            let may = may_by_zeeks_api(holder, request);
            assert_eq!(is_refused, !may, "{}: {request:?}: {response:?}", holder.0);
            refused += 2 * usize::from(!may);
        }
        // The client would hear what the peer is answered.
        drop(peer);
        let mut client = hub.client(&identity).websocket(websocket).expect("it is good");
        for request in &asked {
            let message = DataMessage {
                topic: topics::CONTROLLER.into(),
                data: data_of(request),
            };
            client.send(&message.encode().expect("JSON"));
            let response = client.text_about("_response");
            let may = may_by_zeeks_api(holder, request);
            assert_eq!(
                response.contains(&refusal(request)),
                !may,
                "{}: {request:?}: {response}",
                holder.0
            );
        }
    }
    hub.controller.stop();
    let audit = fs::read_to_string(audit).expect("it is there");
    let lines = audit
        .lines()
        .filter(|line| line.contains(r#""outcome":"refused""#));
    assert_eq!(lines.count(), refused, "{audit}");
}
