//! The answer to a request with a text that is too long, before anything else is done with it.

use broker_codec::{Data, data::ZeekString, zeek::Event};

use super::{
    Side, Translation, Translator,
    controller::{configuration_set, sets_configuration},
    fault, reqid,
    texts::TextTooLong,
};
use crate::{
    agent::{AgentMessage, AgentRequest},
    controller::{ClientRequest, ClientResponse},
    dialect::api::DialectError,
    records::ResultRecord,
};

/// How much of a text that is too long is repeated in an answer, in bytes. Twice this much in JSON, each byte escaped, and
/// the rest of the answer are less than 4 KiB.
const REPEATED_BYTES_MAX: usize = 256;

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
