//! What of the peer under test stands for what is recorded: ids, and where a running agent is and works.

use std::collections::BTreeMap;

use broker_codec::{
    Data,
    data::{Port, Table, ZeekString},
};

/// A mapping that is one to one.
#[derive(Debug, Default)]
pub(super) struct Ids {
    recorded: BTreeMap<ZeekString, ZeekString>,
    own: BTreeMap<ZeekString, ZeekString>,
    /// Only of a running process.
    place: Option<Place>,
}

/// What of its surroundings a running agent tells, its own and the recorded: its port, if it waits for controllers, where its nodes work,
/// and its process.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) port: Option<(Port, Port)>,
    pub(super) state_dir: Option<(String, String)>,
    /// Its process ID, once it has said that.
    pub(super) pid: Option<(i64, i64)>,
}

/// What nodes are told in their environment by an agent that does not listen where they look for it: a running one and the recorded one
/// need not be alike in that.
pub(super) const COORDINATES: [&str; 2] = ["ZEEK_AGENT_ADDR", "ZEEK_AGENT_PORT"];

/// One of the two ids stands for another already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Taken {
    #[error("the recorded id {recorded} stands for {own} already")]
    Recorded { recorded: ZeekString, own: ZeekString },
    #[error("{own} stands for the recorded id {recorded} already")]
    Own { recorded: ZeekString, own: ZeekString },
}

impl Ids {
    pub(super) fn at(place: Place) -> Self {
        let place = Some(place);
        Self {
            place,
            ..Self::default()
        }
    }

    /// From now on, an id of the peer under test stands for a recorded one.
    pub(super) fn bind(&mut self, own: &ZeekString, recorded: &ZeekString) -> Result<(), Taken> {
        if let Some(other) = self.recorded.get(own) {
            return if other == recorded {
                Ok(())
            } else {
                Err(Taken::Own {
                    recorded: other.clone(),
                    own: own.clone(),
                })
            };
        }
        if let Some(other) = self.own.get(recorded) {
            return Err(Taken::Recorded {
                recorded: recorded.clone(),
                own: other.clone(),
            });
        }
        self.recorded.insert(own.clone(), recorded.clone());
        self.own.insert(recorded.clone(), own.clone());
        Ok(())
    }

    /// The recorded id that this id of the peer under test stands for.
    pub(super) fn recorded(&self, own: &ZeekString) -> Option<&ZeekString> {
        self.recorded.get(own)
    }

    /// A running agent has told which process it is, and so has the recorded one.
    pub(super) fn learn_pid(&mut self, own: Option<i64>, recorded: Option<i64>) {
        if let Some(place) = &mut self.place {
            place.pid = place.pid.or_else(|| own.zip(recorded));
        }
    }

    /// What the recorded one said, but for what is not compared.
    pub(super) fn comparable(&self, data: &Data) -> Data {
        mapped(data, &|key| self.is_kept(key), &|_| None)
    }

    fn is_kept(&self, key: &Data) -> bool {
        self.place.is_none() || !is_coordinate(key)
    }

    /// What the peer under test says, as the recorded one would have.
    pub(super) fn to_recorded(&self, data: &Data) -> Data {
        let port = self.place.as_ref().and_then(|place| place.port);
        let moves = self.place.as_ref().and_then(|place| place.state_dir.as_ref());
        let pid = self.place.as_ref().and_then(|place| place.pid);
        mapped(data, &|key| self.is_kept(key), &|leaf| match leaf {
            Data::Integer(own) => pid
                .filter(|(from, _)| from == own)
                .map(|(_, recorded)| Data::Integer(recorded)),
            Data::String(text) => {
                let known = self.recorded.get(text).cloned();
                known
                    .or_else(|| moves.and_then(|(own, recorded)| moved(text, own, recorded)))
                    .map(Data::String)
            }
            Data::Port(own) => port
                .filter(|(from, _)| from == own)
                .map(|(_, recorded)| Data::Port(recorded)),
            _ => None,
        })
    }

    /// What the recorded one was told, as the peer under test can use it.
    pub(super) fn to_own(&self, data: &Data) -> Data {
        let moves = self.place.as_ref().and_then(|place| place.state_dir.as_ref());
        mapped(data, &|_| true, &|leaf| match leaf {
            Data::String(text) => {
                let known = self.own.get(text).cloned();
                known
                    .or_else(|| moves.and_then(|(own, recorded)| moved(text, recorded, own)))
                    .map(Data::String)
            }
            _ => None,
        })
    }
}

fn is_coordinate(key: &Data) -> bool {
    matches!(key, Data::String(name) if COORDINATES.iter().any(|known| *name == **known))
}

/// A path below one directory as one below another.
fn moved(path: &ZeekString, from: &str, to: &str) -> Option<ZeekString> {
    let rest = path.strip_prefix(from.as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/")).then(|| [to.as_bytes(), rest].concat().into())
}

/// A value with other leaves in the place of some, and of tables the entries whose keys are kept.
fn mapped(data: &Data, is_kept: &dyn Fn(&Data) -> bool, leaf: &dyn Fn(&Data) -> Option<Data>) -> Data {
    let inside = |data: &Data| mapped(data, is_kept, leaf);
    match data {
        Data::Vector(elements) => Data::Vector(elements.iter().map(inside).collect()),
        Data::Set(elements) => Data::Set(elements.iter().map(inside).collect()),
        Data::Table(entries) => {
            let kept = entries.iter().filter(|(key, _)| is_kept(key));
            let pairs: Vec<_> = kept.map(|(key, value)| (inside(key), inside(value))).collect();
            // The mapping is one to one, so no key becomes another's.
            Table::try_from(pairs).map_or_else(|_| data.clone(), Data::Table)
        }
        _ => leaf(data).unwrap_or_else(|| data.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_one_to_one_wherever_they_stand() {
        let mut ids = Ids::default();
        ids.bind(&"#1".into(), &"a".into()).unwrap();
        ids.bind(&"#1".into(), &"a".into()).unwrap();
        assert_eq!(
            ids.bind(&"#1".into(), &"b".into()).unwrap_err().to_string(),
            "#1 stands for the recorded id a already"
        );
        assert_eq!(
            ids.bind(&"#2".into(), &"a".into()).unwrap_err().to_string(),
            "the recorded id a stands for #1 already"
        );
        let value = |id: &str| {
            let id = || Data::String(id.into());
            Data::Vector(vec![
                Data::Count(1),
                Data::Set([id()].into()),
                Data::Table(vec![(id(), id())].try_into().unwrap()),
            ])
        };
        assert_eq!(ids.to_recorded(&value("#1")), value("a"));
        assert_eq!(ids.to_own(&value("a")), value("#1"));
        assert_eq!(ids.to_recorded(&value("#12")), value("#12"));
    }

    #[test]
    fn only_what_lies_below_a_directory_moves_with_it() {
        assert_eq!(moved(&"/a/b".into(), "/a/b", "/c"), Some("/c".into()));
        assert_eq!(
            moved(&"/a/b/nodes/n".into(), "/a/b", "/c"),
            Some("/c/nodes/n".into())
        );
        for other in ["/a/bc", "/x/a/b", "/a"] {
            assert_eq!(moved(&other.into(), "/a/b", "/c"), None, "{other}");
        }
    }
}
