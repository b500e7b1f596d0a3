//! What WebSocket clients say.

use broker_codec::{
    data::{DataError, ZeekString},
    json::DataMessage,
    websocket::Rejection,
    zeek::Event,
};
use mgmt_api::{
    ClientRequest, Dialect, Principal, Translator,
    access::Grant,
    dialect::{Published, Translation, check_texts, sets_configuration},
    topics,
};

use super::messages::websocket;
use crate::core::Input;

/// Reads what one WebSocket client says.
#[derive(Debug)]
pub struct ClientSession {
    pub(super) principal: Principal,
    /// The controller's topic.
    pub(super) topic: ZeekString,
    pub(super) translator: Translator,
}

/// What follows from a message of a WebSocket client.
#[derive(Debug, PartialEq)]
pub struct FromClient {
    /// For the core, after the answers.
    pub input: Option<Input>,
    /// What the client gets to hear without the core's doing.
    pub answers: Vec<DataMessage>,
    /// What the client speaks, as far as is known.
    pub dialect: Dialect,
}

impl ClientSession {
    /// What the client may from now on.
    pub fn set_grant(&mut self, grant: Option<Grant>) {
        self.principal.grant = grant;
    }

    /// Reads what the client published. It may publish requests of the controller's API, on the controller's topic or on that of 4.x.
    ///
    /// DIFFERENCE(client-publications): Zeek's server publishes any event that the process knows on any topic, to every peer: a WebSocket client
    /// could pose as an agent.
    pub fn read(&mut self, message: DataMessage) -> Result<FromClient, Rejection> {
        let (own, older) = (&self.topic, topics::CLUSTER_CONTROLLER);
        if message.topic != *own && message.topic != *older {
            let topic = message.topic;
            let explanation = format!("topic {topic} is not open to clients, only {own} and {older}");
            return Err(Rejection::no_event(&explanation));
        }
        let event = Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))?;
        // Before a translator would answer it: other clients do not see what is rejected.
        check_texts(&event).map_err(|error| Rejection::no_event(&error))?;
        let deploys = sets_configuration(&event);
        let translation = self.translator.incoming(&message.topic, event);
        let Translation { to_model, to_peer } = translation.map_err(|error| Rejection::no_event(&error))?;
        let input = to_model.map(|Published { event, .. }| request(&self.principal, event, deploys));
        Ok(FromClient {
            input: input.transpose().map_err(|error| Rejection::no_event(&error))?,
            answers: to_peer.into_iter().map(websocket).collect(),
            dialect: self.translator.dialect(),
        })
    }
}

/// The input for a client's request in the model's terms.
pub(super) fn request(
    principal: &Principal,
    event: Event,
    sets_configuration: bool,
) -> Result<Input, DataError> {
    let principal = principal.clone();
    Ok(match event.parse()? {
        ClientRequest::StageConfiguration { reqid, config } if sets_configuration => {
            Input::SetConfiguration {
                principal,
                reqid,
                config,
            }
        }
        request => Input::Request { principal, request },
    })
}
