//! Requests with texts that are too long: they are refused before anything else is done with them.

use broker_codec::{Data, data::ZeekString, zeek::Event};

use super::{Side, Translation, Translator, controller::configuration_set, fault, reqid, sets_configuration};
use crate::{
    AgentMessage, AgentRequest, ClientRequest, ClientResponse, REQID_BYTES_MAX, ResultRecord,
    dialect::DialectError,
};

/// How much of a text that is too long is repeated in an answer, in bytes. Twice this much in JSON, each byte escaped, and
/// the rest of the answer are less than 4 KiB.
const REPEATED_BYTES_MAX: usize = 256;

/// A request is refused for the length of a text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextTooLong {
    /// Its id, which answers repeat.
    #[error("request ID is longer than {REQID_BYTES_MAX} bytes")]
    RequestId,
    /// A name or an id that it asks about, which results and errors repeat.
    #[error("a name in the request is longer than {REQID_BYTES_MAX} bytes")]
    Name,
}

/// Looks at the texts of a request that its answers repeat: its id, and the names that it holds as arguments or in lists.
///
/// # Errors
///
/// If one of them has more than [`REQID_BYTES_MAX`] bytes.
pub fn check_texts(event: &Event) -> Result<(), TextTooLong> {
    if !event.name.ends_with(b"_request") {
        return Ok(());
    }
    let is_long = |data: &Data| matches!(data, Data::String(text) if text.len() > REQID_BYTES_MAX);
    let mut args = event.args.iter();
    if args.next().is_some_and(is_long) {
        return Err(TextTooLong::RequestId);
    }
    let mut names = args.flat_map(|arg| match arg {
        Data::Vector(elements) => elements.iter().collect(),
        Data::Set(elements) => elements.iter().collect(),
        arg => vec![arg],
    });
    if names.any(is_long) {
        return Err(TextTooLong::Name);
    }
    Ok(())
}

impl Translator {
    /// Answers such a request, in the peer's dialect. The core does not hear of it.
    pub(super) fn refuse(
        &self,
        topic: &ZeekString,
        mut event: Event,
        reason: TextTooLong,
    ) -> Result<Translation, DialectError> {
        if let Some(Data::String(reqid)) = event.args.first_mut() {
            let cut = reqid.get(..REPEATED_BYTES_MAX).map(ZeekString::from);
            *reqid = cut.unwrap_or_else(|| reqid.clone());
        }
        let reqid = reqid(&event);
        let sets_configuration = sets_configuration(&event);
        let event = self.dialect.read(event, &self.context)?;
        let failure = ResultRecord::failure(reqid.clone(), reason.to_string());
        let answer = match self.side {
            Side::Controller if sets_configuration => {
                let answer = configuration_set(self.dialect, reqid, vec![failure])?;
                return self.convert(topic, &answer);
            }
            Side::Controller => {
                let request: ClientRequest = event.parse().map_err(fault)?;
                Event::of(&ClientResponse::new(request.kind(), reqid, vec![failure]))
            }
            Side::Agent => {
                let request: AgentRequest = event.parse().map_err(fault)?;
                let instance = Some(self.instance(topic));
                Event::of(&AgentMessage::answer(
                    &request,
                    ResultRecord { instance, ..failure },
                ))
            }
        };
        self.convert(topic, &answer.map_err(fault)?)
    }
}
