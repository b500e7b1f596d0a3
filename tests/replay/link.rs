//! The extension between controller and agents of ours: `replay` plays it to a controller, and leaves it out for an agent.

use broker_codec::{EnvelopeKind, Topic};
use mgmt_api::topics;
use tools::replay::{
    Report,
    capture::{Content, Message},
};

use super::mutations::{read, replayed};

#[test]
fn messages_of_the_extension_are_neither_played_to_an_agent_nor_compared_but_counted() {
    let role = "agent";
    let recording = "zeek-6.0.9/a2c";
    let mut capture = read(recording);
    let before = replayed(recording, role, &capture);
    // Anything else on that topic would be a difference, or would be heard.
    let on_link = |message: &Message| {
        let mut message = message.clone();
        let Content::Envelope(envelope) = &mut message.content else {
            return None;
        };
        envelope.topic = Topic::from_static(topics::LINK);
        (envelope.kind == EnvelopeKind::Data).then_some(message)
    };
    let messages = std::mem::take(&mut capture.messages).into_iter();
    capture.messages = messages
        .flat_map(|message| [on_link(&message), Some(message)])
        .flatten()
        .collect();
    let mut after = replayed(recording, role, &capture);
    let count = |report: &mut Report| report.excluded.remove("messages of the extension");
    let counted: Vec<_> = after.iter_mut().map(count).collect();
    assert!(counted.iter().all(|count| *count > Some(10)), "{counted:?}");
    let shown = |reports: &[Report]| reports.iter().map(ToString::to_string).collect::<String>();
    assert_eq!(shown(&after), shown(&before));
}
