use std::fmt;

use serde::{Deserializer, de};

use crate::topic::Topic;

/// The largest number of topics taken from a peer in one handshake message or routing update.
///
/// Zeek's nodes announce fewer than ten. The limit bounds what a peer makes us keep for it.
pub const FILTER_TOPICS_MAX: usize = 16_384;

/// What an endpoint wants to receive: a set of topic prefixes, none of which begins with another.
///
/// Kept as Broker keeps its own filter (`filter_type.cc`, `filter_extend`): sorted bytewise and reduced, which leaves
/// what it matches unchanged. The lists in messages travel as they are, see
/// [`Message`](crate::handshake::Message) and [`RoutingUpdate`](crate::control::RoutingUpdate).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<Topic>);

impl Filter {
    /// The filter that matches nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a prefix; false if everything it matches was matched before.
    ///
    /// Topics that must stay within the endpoint are never announced, and hence not added
    /// (`internal/core_actor.cc`, `subscribe`).
    pub fn add(&mut self, prefix: Topic) -> bool {
        if prefix.is_local_only() || self.matches(&prefix) {
            return false;
        }
        // What the prefix makes superfluous stands directly behind its place.
        let start = self.0.partition_point(|entry| *entry < prefix);
        let covered = self
            .0
            .iter()
            .skip(start)
            .take_while(|entry| prefix.is_prefix_of(entry))
            .count();
        self.0.splice(start..start + covered, [prefix]);
        true
    }

    /// Whether some prefix begins the topic, or equals it. Takes logarithmic time.
    pub fn matches(&self, topic: &Topic) -> bool {
        // No entry begins with another, so nothing stands between a prefix of the topic and the topic.
        let after = self.0.partition_point(|entry| entry <= topic);
        self.0
            .iter()
            .take(after)
            .next_back()
            .is_some_and(|entry| entry.is_prefix_of(topic))
    }

    /// The prefixes, ascending.
    pub fn topics(&self) -> &[Topic] {
        &self.0
    }

    /// The prefixes, ascending, as a message carries them.
    pub fn into_topics(self) -> Vec<Topic> {
        self.0
    }
}

impl FromIterator<Topic> for Filter {
    /// Reduces a list, as received from a peer or configured; topics that must stay within an endpoint are left out.
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        let mut topics: Vec<Topic> = topics
            .into_iter()
            .filter(|topic| !topic.is_local_only())
            .collect();
        topics.sort();
        topics.dedup_by(|later, kept| kept.is_prefix_of(later));
        topics.shrink_to_fit();
        Self(topics)
    }
}

/// Reads the list of topics of a message, at most [`FILTER_TOPICS_MAX`].
pub(crate) fn deserialize_topics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Topic>, D::Error> {
    struct Topics;

    impl<'de> de::Visitor<'de> for Topics {
        type Value = Vec<Topic>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {FILTER_TOPICS_MAX} topics")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Topic>, A::Error> {
            let mut topics = Vec::new();
            while let Some(topic) = seq.next_element()? {
                if topics.len() == FILTER_TOPICS_MAX {
                    return Err(de::Error::invalid_length(topics.len() + 1, &self));
                }
                topics.push(topic);
            }
            Ok(topics)
        }
    }

    deserializer.deserialize_seq(Topics)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn filter(topics: &[&'static str]) -> Filter {
        topics.iter().map(|topic| Topic::from_static(topic)).collect()
    }

    #[test]
    fn a_filter_is_sorted_and_reduced() {
        let mut own = Filter::new();
        for (topic, grows, expected) in [
            ("zeek/b/x", true, &["zeek/b/x"][..]),
            ("zeek/b/y", true, &["zeek/b/x", "zeek/b/y"]),
            ("zeek/b/yy", false, &["zeek/b/x", "zeek/b/y"]),
            ("zeek/a", true, &["zeek/a", "zeek/b/x", "zeek/b/y"]),
            ("zeek/b", true, &["zeek/a", "zeek/b"]),
            ("zeek/b", false, &["zeek/a", "zeek/b"]),
            ("<$>/local/data/statuses", false, &["zeek/a", "zeek/b"]),
            ("", true, &[""]),
            ("zeek/c", false, &[""]),
        ] {
            assert_eq!(own.add(Topic::from_static(topic)), grows, "{topic}");
            assert_eq!(own, filter(expected), "{topic}");
            assert_eq!(own.topics().len(), expected.len());
        }
    }

    #[test]
    fn matching_is_by_prefix() {
        let some = filter(&["zeek/a", "zeek/management/agent"]);
        for (topic, matches) in [
            ("zeek/a", true),
            ("zeek/ab", true),
            ("zeek/", false),
            ("zeek/management/agent/x", true),
            ("zeek/management/controller", false),
            ("", false),
        ] {
            assert_eq!(some.matches(&Topic::from_static(topic)), matches, "{topic}");
        }
        assert!(filter(&[""]).matches(&Topic::default()));
        assert!(!Filter::new().matches(&Topic::default()));
    }

    proptest! {
        #[test]
        fn any_list_matches_what_its_entries_match(
            list in vec(vec(0u8..3, 0..4), 0..12),
            topic in vec(0u8..3, 0..6),
        ) {
            let topics: Vec<Topic> = list.iter().map(|bytes| Topic::new(bytes).unwrap()).collect();
            let topic = Topic::new(topic).unwrap();
            let at_once: Filter = topics.iter().cloned().collect();
            let mut one_by_one = Filter::new();
            for entry in &topics {
                let news = !one_by_one.matches(entry);
                prop_assert_eq!(one_by_one.add(entry.clone()), news);
            }
            prop_assert_eq!(&at_once, &one_by_one);
            prop_assert_eq!(at_once.matches(&topic), topics.iter().any(|entry| entry.is_prefix_of(&topic)));
        }
    }
}
