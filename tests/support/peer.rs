//! Broker endpoints that tests speak through.

use std::{net::SocketAddr, time::Duration};

use broker_codec::{Data, Topic, zeek::Event};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, PeerAddress, tls::TlsConfig};
use mgmt_api::{ClientResponse, topics};

use super::{controller::Controller, limit::Limit, runtime};

/// An endpoint that is subscribed to one topic.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
}

impl Peer {
    pub(crate) fn start(tls: TlsConfig, topic: &str) -> Self {
        let mut config = EndpointConfig::default();
        config.tls = tls;
        config.subscriptions = vec![topic.try_into().expect("short enough")];
        let _within = runtime().enter();
        let endpoint = Endpoint::start(config).expect("the configuration is good");
        Self { endpoint }
    }

    pub(crate) fn dial(&self, address: SocketAddr, retry: Option<Duration>) {
        self.endpoint.handle().peer(PeerAddress::from(address), retry);
    }

    /// Connects, and waits for the peering.
    pub(crate) fn connect(address: SocketAddr, tls: TlsConfig, topic: &str) -> Self {
        let mut peer = Self::start(tls, topic);
        peer.dial(address, None);
        let event = peer.event(&Limit::new(format_args!("the peering with {address}")));
        assert!(matches!(event, EndpointEvent::PeerAdded(_)), "{event:?}");
        peer
    }

    /// Connects a client of the controller, such as a script in Zeek.
    pub(crate) fn client_of(controller: &Controller) -> Self {
        Self::connect(controller.broker(), TlsConfig::Anonymous, topics::CONTROLLER)
    }

    /// Tries to connect, which must fail.
    pub(crate) fn cannot_connect(address: SocketAddr, tls: TlsConfig) {
        let mut peer = Self::start(tls, topics::CONTROLLER);
        peer.dial(address, None);
        let event = peer.event(&Limit::new("the refusal of a peer"));
        let refused = matches!(event, EndpointEvent::PeerUnavailable { .. });
        assert!(refused, "{event:?}");
    }

    pub(crate) fn event(&mut self, limit: &Limit) -> EndpointEvent {
        runtime()
            .block_on(limit.of(self.endpoint.recv()))
            .expect("the endpoint lives")
    }

    pub(crate) fn publish(&self, topic: impl AsRef<[u8]>, data: &Data) {
        let topic = Topic::new(topic.as_ref()).expect("short enough");
        runtime()
            .block_on(self.endpoint.handle().publish(topic, data))
            .expect("the endpoint lives");
    }

    /// Waits for such an event. Others before it are passed over.
    pub(crate) fn hear<T>(&mut self, limit: &Limit, pick: impl Fn(Event) -> Option<T>) -> T {
        loop {
            let EndpointEvent::Message(message) = self.event(limit) else {
                panic!("the connection has ended");
            };
            if let Some(picked) = pick(Event::from_data(message.data).expect("an event")) {
                return picked;
            }
        }
    }

    /// The next response of the controller, and nothing before it.
    pub(crate) fn response(&mut self) -> ClientResponse {
        let event = self.event(&Limit::new("an answer of the controller"));
        let EndpointEvent::Message(message) = event else {
            panic!("expected a message: {event:?}")
        };
        assert_eq!(message.topic, topics::CONTROLLER);
        let event = Event::from_data(message.data).expect("an event");
        assert_eq!(event.metadata, Some(Vec::new()), "as Zeek 9.0 sends it");
        event.parse().expect("a response of the controller")
    }
}

/// An event as it travels.
pub(crate) fn data_of(value: &impl serde::Serialize) -> Data {
    Event::of(value).expect("it can be encoded").into_data()
}
