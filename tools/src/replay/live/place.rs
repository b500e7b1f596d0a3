//! Where a running agent is and works, and where the recorded one did.

use broker_codec::{
    Data, Envelope, EnvelopeKind, binary,
    data::{Port, Table, ZeekString},
};

use crate::replay::{ids::changed, message::encoded, recording::AgentTraits};

/// What of its surroundings an agent tells: its port, if it waits for controllers, and where its nodes work. One to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::replay) struct Place {
    /// Own and recorded.
    port: Option<(Port, Port)>,
    /// Own and recorded.
    state_dir: Option<(String, String)>,
}

impl Place {
    /// The place of an agent. A controller tells no peer of its own.
    pub(in crate::replay) fn of_agent(traits: &AgentTraits, port: u16, state_dir: Option<String>) -> Self {
        let port = traits
            .listen_port
            .map(|recorded| (Port::tcp(port), Port::tcp(recorded)));
        let state_dir = state_dir.zip(traits.state_dir.clone());
        Self { port, state_dir }
    }

    /// What the agent says, as the recorded one would have.
    pub(super) fn to_recorded(&self, envelope: Envelope) -> Envelope {
        let own_place = |leaf: &Data| match (leaf, &self.port, &self.state_dir) {
            (Data::Port(port), Some((own, recorded)), _) if port == own => Some(Data::Port(*recorded)),
            (Data::String(path), _, Some((own, recorded))) => moved(path, own, recorded),
            _ => None,
        };
        rewritten(envelope, &|data| {
            let data = without_coordinates(data);
            changed(&data, &own_place).or(Some(data))
        })
    }

    /// What the recorded agent was told, as this one can use it.
    pub(super) fn to_own(&self, envelope: Envelope) -> Envelope {
        rewritten(envelope, &|data| {
            changed(data, &|leaf| match (leaf, &self.state_dir) {
                (Data::String(path), Some((own, recorded))) => moved(path, recorded, own),
                _ => None,
            })
        })
    }
}

/// A path below one directory as one below another.
fn moved(path: &ZeekString, from: &str, to: &str) -> Option<Data> {
    let rest = path.strip_prefix(from.as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/"))
        .then(|| Data::String(ZeekString::from([to.as_bytes(), rest].concat().as_slice())))
}

/// What nodes are told in their environment by an agent that does not listen where they look for it. The recorded one did.
const COORDINATES: [&str; 2] = ["ZEEK_AGENT_ADDR", "ZEEK_AGENT_PORT"];

fn without_coordinates(data: &Data) -> Data {
    match data {
        Data::Vector(elements) => Data::Vector(elements.iter().map(without_coordinates).collect()),
        Data::Table(entries) => {
            let is_coordinate = |key: &Data| matches!(key, Data::String(name) if COORDINATES.iter().any(|known| *name == **known));
            let kept = entries.into_iter().filter(|(key, _)| !is_coordinate(key));
            let kept: Vec<(Data, Data)> = kept.cloned().collect();
            // Keys that were distinct still are.
            Table::try_from(kept).map_or_else(|_| data.clone(), Data::Table)
        }
        _ => data.clone(),
    }
}

/// A message whose content was changed, byte for byte the same if nothing changes or it holds no value.
fn rewritten(envelope: Envelope, content: &dyn Fn(&Data) -> Option<Data>) -> Envelope {
    let payload = (envelope.kind == EnvelopeKind::Data)
        .then(|| binary::decode(&envelope.payload).ok())
        .flatten()
        .and_then(|data| content(&data).filter(|content| *content != data))
        .and_then(|data| encoded(&data));
    match payload {
        Some(payload) => Envelope { payload, ..envelope },
        None => envelope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_a_directory_moves_with_it() {
        let text = |text: &str| Some(Data::String(text.into()));
        assert_eq!(moved(&"/a/b".into(), "/a/b", "/c"), text("/c"));
        assert_eq!(moved(&"/a/b/nodes/n".into(), "/a/b", "/c"), text("/c/nodes/n"));
        for other in ["/a/bc", "/x/a/b", "/a"] {
            assert_eq!(moved(&other.into(), "/a/b", "/c"), None, "{other}");
        }
    }
}
