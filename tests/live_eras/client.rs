//! A client of an age.

use std::{net::SocketAddr, thread, time::Duration};

use broker_codec::{Topic, zeek::Event};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, PeerAddress, tls::TlsConfig};
use tokio::{runtime::Runtime, time::timeout};

use super::{
    PATIENCE,
    zeek::{Era, show},
};
use crate::{dialects::notation, support::limit::Limit};

/// A client of an age, over Broker.
pub(super) struct Client<'a> {
    runtime: &'a Runtime,
    endpoint: Endpoint,
    era: Era,
    asked: u32,
}

impl<'a> Client<'a> {
    /// Connects as soon as the controller listens.
    pub(super) fn connect(runtime: &'a Runtime, controller: SocketAddr, era: Era) -> Self {
        let mut config = EndpointConfig::default();
        config.tls = TlsConfig::Anonymous;
        config.subscriptions = vec![Topic::from_static(era.topic)];
        let _within = runtime.enter();
        let mut endpoint = Endpoint::start(config).expect("the configuration is good");
        let retry = Some(Duration::from_millis(200));
        endpoint.handle().peer(PeerAddress::from(controller), retry);
        let limit = Limit::lasting(PATIENCE, "a peering with a controller");
        let added = |event: &_| matches!(event, EndpointEvent::PeerAdded(_));
        while !added(
            &runtime
                .block_on(limit.of(endpoint.recv()))
                .expect("the endpoint lives"),
        ) {}
        Self {
            runtime,
            endpoint,
            era,
            asked: 0,
        }
    }

    /// Asks; again where the controller does not answer, as is the way of 4.1 when no agent is there. `request` makes the request for an id.
    pub(super) fn ask_until(
        &mut self,
        request: impl Fn(&str) -> String,
        good: impl Fn(&str) -> bool,
    ) -> String {
        let limit = Limit::lasting(PATIENCE, "a good answer of a controller");
        loop {
            limit.left();
            self.asked += 1;
            let reqid = format!("asked-{}", self.asked);
            let event = Event {
                metadata: Some(Vec::new()),
                ..notation::event(&request(&reqid))
            };
            let (topic, handle) = (Topic::from_static(self.era.topic), self.endpoint.handle());
            let answered = self.runtime.block_on(async {
                handle
                    .publish(topic, &event.into_data())
                    .await
                    .expect("the endpoint lives");
                timeout(Duration::from_secs(15), answer(&mut self.endpoint, &reqid)).await
            });
            match answered {
                Ok(answer) if good(&answer) => return answer,
                Ok(answer) => show("not a good answer", &answer),
                Err(_) => show("no answer to", &reqid),
            }
            thread::sleep(Duration::from_millis(500));
        }
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
