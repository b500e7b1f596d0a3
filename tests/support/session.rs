//! A client of the controller's API over WebSocket that asks and is answered in types; quick enough to be asked for often.

use std::net::SocketAddr;

use broker_codec::{
    data::{ZeekString, from_data},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::{ClientRequest, ClientResponse, Configuration, Instance, topics};

use super::{limit::Limit, websocket::Client};

/// A connection that is subscribed to the controller's topic.
#[derive(Debug)]
pub(crate) struct Session(Client);

impl Session {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self(Client::subscribed(address))
    }

    pub(crate) fn send(&mut self, request: &ClientRequest) {
        self.0.send_text(&text_of(request));
    }

    pub(crate) fn response(&mut self) -> ClientResponse {
        response_in(&self.0.text()).expect("a response")
    }

    /// Asks, and waits for the answer. Messages on the topic before that are passed over.
    pub(crate) fn ask(&mut self, request: &ClientRequest) -> ClientResponse {
        self.try_ask(request).expect("the controller lives")
    }

    /// Asks, and waits for the answer or for the end of the connection.
    pub(crate) fn try_ask(&mut self, request: &ClientRequest) -> Option<ClientResponse> {
        self.try_send(request)?;
        self.try_answer(request)
    }

    /// Asks, if the controller is still there.
    pub(crate) fn try_send(&mut self, request: &ClientRequest) -> Option<()> {
        self.0.send(text_of(request).into()).ok()
    }

    /// Waits for the answer to a request, or for the end of the connection.
    pub(crate) fn try_answer(&mut self, request: &ClientRequest) -> Option<ClientResponse> {
        let limit = Limit::new(format_args!("the answer to {:?}", request.kind()));
        loop {
            let response = response_in(&self.0.try_text_by(&limit)?);
            if let Some(response) = response
                && (response.kind(), response.reqid()) == (request.kind(), request.reqid())
            {
                return Some(response);
            }
        }
    }

    /// Stages a configuration, which must succeed.
    pub(crate) fn stage(&mut self, config: &Configuration) {
        let response = self.ask(&stage_request(config));
        let results = response.results();
        assert!(results.iter().all(|result| result.success), "{results:?}");
    }

    /// The staged or the deployed configuration.
    pub(crate) fn configuration(&mut self, deployed: bool) -> Option<Configuration> {
        let reqid = ZeekString::from("get-configuration");
        let response = self.ask(&ClientRequest::GetConfiguration { reqid, deployed });
        let data = response.results()[0].data.clone();
        data.map(|data| from_data(data).expect("a configuration"))
    }

    /// The names of the agents that are connected.
    pub(crate) fn instances(&mut self) -> Vec<String> {
        let reqid = ZeekString::from("get-instances");
        let response = self.ask(&ClientRequest::GetInstances { reqid });
        let data = response.results()[0].data.clone().expect("instances");
        let instances: Vec<Instance> = from_data(data).expect("instances");
        instances
            .iter()
            .map(|instance| instance.name.to_string())
            .collect()
    }
}

/// The request to stage a configuration, under the configuration's id.
pub(crate) fn stage_request(config: &Configuration) -> ClientRequest {
    ClientRequest::StageConfiguration {
        reqid: config.id.clone(),
        config: config.clone(),
    }
}

fn text_of(request: &ClientRequest) -> String {
    let event = Event::of(request).expect("a request is an event");
    let message = DataMessage {
        topic: topics::CONTROLLER.into(),
        data: event.to_data(),
    };
    message.encode().expect("a message")
}

/// The response in a message; none if it is something else, such as what another client asks.
fn response_in(text: &str) -> Option<ClientResponse> {
    let message = DataMessage::decode(text.as_bytes()).expect("a data message");
    Event::from_data(message.data).expect("an event").parse().ok()
}
