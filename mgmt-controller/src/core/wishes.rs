//! What operators want done to nodes, in words.

use broker_codec::data::ZeekString;
use mgmt_api::{Level, Principal, log::some_of};

use super::turn::{About, Turn};

/// Says what an operator wants done to nodes.
pub(super) fn tell_wish(
    turn: &mut Turn<'_>,
    principal: &Principal,
    verb: &str,
    instance: &ZeekString,
    nodes: &[String],
) {
    let nodes: Vec<ZeekString> = nodes.iter().map(|name| name.as_str().into()).collect();
    let nodes = some_of(&nodes);
    turn.report(
        Level::Info,
        About::Instance(instance),
        format!("{verb} {nodes} on instance {instance}, as {principal} wants"),
    );
}
