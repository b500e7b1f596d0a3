use broker_codec::{data::ZeekString, json::DataMessage, zeek::Event};
use broker_endpoint::websocket::Rejection;
use mgmt_api::ClientRequest;

/// What a client may publish: requests of the controller's API, on the controller's topic.
///
/// DIFFERENCE(client-publications): Zeek's server publishes any event that the process knows on any topic, to every peer: a WebSocket client
/// could pose as an agent.
pub(super) fn admit(topic: &ZeekString, message: DataMessage) -> Result<ClientRequest, Rejection> {
    if message.topic != *topic {
        let explanation = format!("topic {} is not open to clients, only {topic}", message.topic);
        return Err(Rejection::no_event(&explanation));
    }
    let event = Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))?;
    event.parse().map_err(|error| Rejection::no_event(&error))
}
