//! What travels, between the core and its peers.

pub mod node_link;
pub mod peers;

use broker_codec::{Data, data::ZeekString, zeek::Event};

/// The id of the request that an event is, or that it answers: by the convention of all these APIs the first argument.
pub fn reqid_of(event: &Event) -> Option<&ZeekString> {
    let has_one = event.name.ends_with(b"_request") || event.name.ends_with(b"_response");
    match event.args.first() {
        Some(Data::String(reqid)) if has_one => Some(reqid),
        _ => None,
    }
}

/// The id of the request that a message is, which has not been read yet.
pub fn reqid_in(data: &Data) -> Option<&ZeekString> {
    match event_in(data)? {
        (name, [Data::String(reqid), ..]) if name.ends_with(b"_request") => Some(reqid),
        _ => None,
    }
}

/// The name and the arguments of the event that a message holds, which is not checked further.
pub fn event_in(data: &Data) -> Option<(&ZeekString, &[Data])> {
    let Data::Vector(message) = data else { return None };
    let [_, _, Data::Vector(event), ..] = &**message else {
        return None;
    };
    match &**event {
        [Data::String(name), Data::Vector(args), ..] => Some((name, args)),
        _ => None,
    }
}
