use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::data::{Excerpt, ZeekString, serialize_bytes};

/// The longest topic, in bytes: an envelope carries the length in 16 bits.
pub const TOPIC_LEN_MAX: usize = 65_535;

/// A topic, or a prefix of topics in a [`Filter`](crate::Filter): at most [`TOPIC_LEN_MAX`] bytes, usually UTF-8.
///
/// Cloning shares the bytes; they are never part of a larger buffer. Compared bytewise.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Bytes);

impl Topic {
    /// `<$>`, the topic of pings, pongs and routing updates (`topic.hh`, `sep`).
    pub const CONTROL: Self = Self::from_static("<$>");

    /// What begins the topics that never leave an endpoint, such as its status events (`topic.hh`,
    /// `local_prefix_str`).
    pub const LOCAL_PREFIX: Self = Self::from_static("<$>/local/");

    /// A topic known at compile time.
    ///
    /// # Panics
    ///
    /// If the text is longer than [`TOPIC_LEN_MAX`]; in a constant this is a compile error.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= TOPIC_LEN_MAX, "topic is too long");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// A topic of these bytes, which are copied.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, TopicTooLong> {
        let bytes = bytes.as_ref();
        if bytes.len() > TOPIC_LEN_MAX {
            return Err(TopicTooLong { len: bytes.len() });
        }
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// The length as an envelope carries it.
    pub(crate) fn wire_len(&self) -> u16 {
        // Every constructor bounds the length.
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if the bytes are valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the empty topic, which as a prefix matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` begins with this topic, or equals it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Whether messages on this topic must stay within an endpoint, see [`Self::LOCAL_PREFIX`].
    pub fn is_local_only(&self) -> bool {
        Self::LOCAL_PREFIX.is_prefix_of(self)
    }
}

/// A topic does not fit an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic of {len} bytes is longer than {TOPIC_LEN_MAX}")]
pub struct TopicTooLong {
    pub len: usize,
}

impl TryFrom<&str> for Topic {
    type Error = TopicTooLong;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl AsRef<[u8]> for Topic {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Excerpt::new(&self.0), f)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Excerpt::new(&self.0), f)
    }
}

impl PartialEq<&str> for Topic {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// As a [`ZeekString`].
impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(ZeekString::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_the_longest_length_is_accepted_and_one_more_byte_is_not() {
        assert_eq!(
            Topic::new(vec![b'x'; TOPIC_LEN_MAX]).map(|topic| topic.len()),
            Ok(TOPIC_LEN_MAX)
        );
        assert_eq!(
            Topic::new(vec![b'x'; TOPIC_LEN_MAX + 1]),
            Err(TopicTooLong {
                len: TOPIC_LEN_MAX + 1
            })
        );
        assert_eq!(
            TopicTooLong { len: 65_536 }.to_string(),
            "topic of 65536 bytes is longer than 65535"
        );
    }

    #[test]
    fn status_topics_are_local_only() {
        for (topic, local) in [
            ("<$>/local/data/statuses", true),
            ("<$>/local/", true),
            ("<$>/local", false),
            ("<$>", false),
            ("zeek/<$>/local/", false),
            ("", false),
        ] {
            assert_eq!(Topic::from_static(topic).is_local_only(), local, "{topic}");
        }
    }

    #[test]
    fn topics_survive_json_whatever_their_bytes() {
        for (bytes, json) in [(&b"zeek/a"[..], "\"zeek/a\""), (b"\xff\x00", "[255,0]")] {
            let topic = Topic::new(bytes).unwrap();
            assert_eq!(serde_json::to_string(&topic).unwrap(), json);
            assert_eq!(serde_json::from_str::<Topic>(json).unwrap(), topic);
        }
    }
}
