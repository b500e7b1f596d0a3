//! A client of an age.

use std::{net::SocketAddr, time::Duration};

use broker_codec::zeek::Event;
use broker_endpoint::{Endpoint, EndpointEvent, tls::TlsConfig};
use tokio::time::timeout;

use super::zeek::{Era, show};
use crate::{
    dialects::notation,
    live_controller::TIMEOUT,
    support::{limit::Limit, peer::Peer, runtime},
};

/// A client of an age, over Broker.
pub(super) struct Client {
    peer: Peer,
    era: Era,
    asked: u32,
}

impl Client {
    /// Connects as soon as the controller listens.
    pub(super) fn connect(controller: SocketAddr, era: Era) -> Self {
        let mut peer = Peer::start(TlsConfig::Anonymous, era.topic);
        peer.dial(controller, Some(Duration::from_millis(200)));
        let limit = Limit::lasting(TIMEOUT, "a peering with a controller");
        while !matches!(peer.event(&limit), EndpointEvent::PeerAdded(_)) {}
        Self { peer, era, asked: 0 }
    }

    /// Asks; again where the controller does not answer, as is the way of 4.1 when no agent is there. `request` makes the request for an id.
    pub(super) fn ask_until(
        &mut self,
        request: impl Fn(&str) -> String,
        good: impl Fn(&str) -> bool,
    ) -> String {
        let limit = Limit::lasting(TIMEOUT, "a good answer of a controller");
        limit.poll(|| {
            self.asked += 1;
            let reqid = format!("asked-{}", self.asked);
            let event = Event {
                metadata: Some(Vec::new()),
                ..notation::event(&request(&reqid))
            };
            self.peer.publish(self.era.topic, &event.into_data());
            let answer = answer(&mut self.peer.endpoint, &reqid);
            let answered = runtime().block_on(async { timeout(Duration::from_secs(15), answer).await });
            match answered {
                Ok(answer) if good(&answer) => return Some(answer),
                Ok(answer) => show("not a good answer", &answer),
                Err(_) => show("no answer to", &reqid),
            }
            None
        })
    }
}

/// The response with this id, as text.
async fn answer(endpoint: &mut Endpoint, reqid: &str) -> String {
    loop {
        let EndpointEvent::Message(message) = endpoint.recv().await.expect("the endpoint lives") else {
            continue;
        };
        let event = Event::from_data(message.data).expect("an event");
        let text = notation::show_event(&event);
        if text.contains(&format!("_response(\"{reqid}\"")) {
            return text;
        }
    }
}
