use std::fmt;

use super::{Rejection, RejectionCode};
use crate::{
    data::ZeekString,
    json::{JsonErrorKind, decode_subscriptions},
};

/// How many topic prefixes a client may subscribe to. zeek-client subscribes to one.
///
/// DIFFERENCE(subscription-limits): Zeek has none of these limits.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// How long each prefix may be, in bytes. The longest topic of Zeek's own has 40; an agent's name may add a few hundred.
pub const SUBSCRIPTION_LEN_MAX: usize = 1024;

/// How long the message with all of them may be, in bytes: as many as allowed, of 500 bytes each.
pub const SUBSCRIPTIONS_LEN_MAX: usize = 128 * 1024;

/// Reads the first message of a client.
pub(super) fn read(message: &[u8]) -> Result<Vec<ZeekString>, Rejection> {
    if message.len() > SUBSCRIPTIONS_LEN_MAX {
        let why = format_args!(
            "the first message has {} bytes, at most {SUBSCRIPTIONS_LEN_MAX} are allowed",
            message.len()
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
    if topics.len() > SUBSCRIPTIONS_MAX {
        let why = format_args!(
            "{} topic prefixes, at most {SUBSCRIPTIONS_MAX} are allowed",
            topics.len()
        );
        return Err(explained("too many subscriptions", &why));
    }
    if let Some(long) = topics
        .iter()
        .map(|topic| topic.len())
        .find(|len| *len > SUBSCRIPTION_LEN_MAX)
    {
        let why = format_args!("{long} bytes, at most {SUBSCRIPTION_LEN_MAX} are allowed");
        return Err(explained("individual subscription too long", &why));
    }
    Ok(topics)
}

const EXPECTED: &str =
    r#"the first message must be a list of topic prefixes such as ["zeek/management/controller"]"#;

fn explained(text: &str, why: &dyn fmt::Display) -> Rejection {
    Rejection::explained(RejectionCode::DeserializationFailed, text, why)
}
