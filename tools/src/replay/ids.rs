//! Which id of the peer under test stands for which recorded id.

use std::collections::BTreeMap;

use broker_codec::{
    Data,
    data::{Table, ZeekString},
};

/// A mapping that is one to one.
#[derive(Debug, Default)]
pub(super) struct Ids {
    recorded: BTreeMap<ZeekString, ZeekString>,
    own: BTreeMap<ZeekString, ZeekString>,
}

/// One of the two ids stands for another already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Taken {
    #[error("the recorded id {recorded} stands for {own} already")]
    Recorded { recorded: ZeekString, own: ZeekString },
    #[error("{own} stands for the recorded id {recorded} already")]
    Own { recorded: ZeekString, own: ZeekString },
}

impl Ids {
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

    /// A value of the peer under test with the recorded ids, or `None` if it holds none of its own.
    pub(super) fn to_recorded(&self, data: &Data) -> Option<Data> {
        mapped(&self.recorded, data)
    }

    /// A recorded value with the ids of the peer under test, or `None` if it holds none that it knows.
    pub(super) fn to_own(&self, data: &Data) -> Option<Data> {
        mapped(&self.own, data)
    }
}

/// `None` if nothing changes.
fn mapped(ids: &BTreeMap<ZeekString, ZeekString>, data: &Data) -> Option<Data> {
    changed(data, &|leaf| match leaf {
        Data::String(text) => ids.get(text).cloned().map(Data::String),
        _ => None,
    })
}

/// A value in which everything that is no container was changed one to one, or `None` if nothing changes.
pub(super) fn changed(data: &Data, leaf: &dyn Fn(&Data) -> Option<Data>) -> Option<Data> {
    let all = |elements: &[Data]| {
        let changed: Vec<Option<Data>> = elements.iter().map(|element| changed(element, leaf)).collect();
        changed.iter().any(Option::is_some).then(|| {
            let pairs = changed.into_iter().zip(elements);
            pairs
                .map(|(changed, element)| changed.unwrap_or_else(|| element.clone()))
                .collect::<Vec<_>>()
        })
    };
    match data {
        Data::Vector(elements) => all(elements).map(Data::Vector),
        Data::Set(elements) => {
            all(elements.as_slice()).map(|elements| Data::Set(elements.into_iter().collect()))
        }
        Data::Table(entries) => {
            let (keys, values): (Vec<Data>, Vec<Data>) = entries.into_iter().cloned().unzip();
            let (new_keys, new_values) = (all(&keys), all(&values));
            if new_keys.is_none() && new_values.is_none() {
                return None;
            }
            let pairs = new_keys
                .unwrap_or(keys)
                .into_iter()
                .zip(new_values.unwrap_or(values));
            // The mapping is one to one, so no key becomes another's.
            Table::try_from(pairs.collect::<Vec<_>>()).ok().map(Data::Table)
        }
        _ => leaf(data),
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
        assert_eq!(ids.to_recorded(&value("#1")), Some(value("a")));
        assert_eq!(ids.to_own(&value("a")), Some(value("#1")));
        assert_eq!(ids.to_recorded(&value("#12")), None);
    }
}
