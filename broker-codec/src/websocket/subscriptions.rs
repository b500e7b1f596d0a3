use std::fmt;

use super::Rejection;
use crate::{
    data::ZeekString,
    json::{JsonErrorKind, decode_subscriptions},
};

/// What a client may subscribe to.
///
/// DIFFERENCE(subscription-limits): Zeek has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionLimits {
    /// How many prefixes.
    pub count_max: usize,
    /// How long each may be, in bytes.
    pub len_max: usize,
    /// How long the message with all of them may be, in bytes.
    pub message_max: usize,
}

impl SubscriptionLimits {
    /// zeek-client subscribes to one prefix.
    pub const COUNT_MAX: usize = 256;
    /// The longest topic of Zeek's own has 40 bytes; an agent's name may add a few hundred.
    pub const LEN_MAX: usize = 1024;
    /// As many prefixes as allowed, of 500 bytes each.
    pub const MESSAGE_MAX: usize = 128 * 1024;

    /// Reads the first message of a client.
    pub(super) fn read(&self, message: &[u8]) -> Result<Vec<ZeekString>, Rejection> {
        if message.len() > self.message_max {
            let why = format_args!(
                "the first message has {} bytes, at most {} are allowed",
                message.len(),
                self.message_max
            );
            return Err(explained("subscriptions too long", &why));
        }
        let topics = decode_subscriptions(message).map_err(|error| match error.kind {
            JsonErrorKind::SubscriptionNotAString => explained(
                "individual subscription not a string",
                &"every element must be a topic prefix",
            ),
            JsonErrorKind::SubscriptionsNotAnArray => explained("subscriptions not an array", &EXPECTED),
            // Zeek does not tell a broken text from a text that is no array.
            _ => explained("subscriptions not an array", &format_args!("{error}; {EXPECTED}")),
        })?;
        if topics.len() > self.count_max {
            let why = format_args!(
                "{} topic prefixes, at most {} are allowed",
                topics.len(),
                self.count_max
            );
            return Err(explained("too many subscriptions", &why));
        }
        if let Some(long) = topics
            .iter()
            .map(|topic| topic.len())
            .find(|len| *len > self.len_max)
        {
            let why = format_args!("{long} bytes, at most {} are allowed", self.len_max);
            return Err(explained("individual subscription too long", &why));
        }
        Ok(topics)
    }
}

const EXPECTED: &str =
    r#"the first message must be a list of topic prefixes such as ["zeek/management/controller"]"#;

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self {
            count_max: Self::COUNT_MAX,
            len_max: Self::LEN_MAX,
            message_max: Self::MESSAGE_MAX,
        }
    }
}

fn explained(text: &str, why: &dyn fmt::Display) -> Rejection {
    Rejection::explained(Rejection::DESERIALIZATION_FAILED, text, why)
}
