//! Native clients of the controller: over Broker, not WebSocket.

use broker_codec::{Data, EndpointId, zeek::Event};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, PeerAddress, tls::TlsConfig};
use mgmt_api::{ClientResponse, topics};

use super::{controller::Controller, limit::Limit};

/// A native client, such as a script in Zeek: connected to the controller and subscribed to its topic.
#[derive(Debug)]
pub(crate) struct NativeClient {
    pub(crate) endpoint: Endpoint,
}

impl NativeClient {
    pub(crate) async fn connect(controller: &Controller) -> Self {
        Self::connect_over(controller, TlsConfig::Anonymous).await
    }

    pub(crate) async fn connect_over(controller: &Controller, tls: TlsConfig) -> Self {
        let mut config = EndpointConfig::default();
        config.tls = tls;
        config.subscriptions = vec![topics::CONTROLLER.try_into().expect("short enough")];
        let mut endpoint = Endpoint::start(config).expect("the configuration is good");
        let address = PeerAddress::from(controller.broker());
        endpoint.handle().peer(address, None);
        match Limit::new("the peering with the controller")
            .of(endpoint.recv())
            .await
        {
            Some(EndpointEvent::PeerAdded(_)) => Self { endpoint },
            other => panic!("expected a peering: {other:?}"),
        }
    }

    pub(crate) fn id(&self) -> EndpointId {
        self.endpoint.id()
    }

    pub(crate) async fn publish(&self, topic: &str, data: &Data) {
        let topic = topic.try_into().expect("short enough");
        self.endpoint
            .handle()
            .publish(topic, data)
            .await
            .expect("the endpoint lives");
    }

    /// The next response of the controller.
    pub(crate) async fn response(&mut self) -> ClientResponse {
        let event = Limit::new("an answer of the controller")
            .of(self.endpoint.recv())
            .await;
        let Some(EndpointEvent::Message(message)) = event else {
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
