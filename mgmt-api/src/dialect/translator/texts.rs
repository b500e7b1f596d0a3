//! How long the texts of a request may be.

use broker_codec::{Data, zeek::Event};

use crate::requests::REQID_BYTES_MAX;

/// A request is refused for the length of a text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextTooLong {
    /// Its id, which answers repeat.
    #[error("request ID is longer than {REQID_BYTES_MAX} bytes")]
    RequestId,
    /// A name or an id that it asks about, which results and errors repeat.
    #[error("a name in the request is longer than {REQID_BYTES_MAX} bytes")]
    Name,
}

/// Looks at the texts of a request that its answers repeat: its id, and the names that it holds as arguments or in lists.
///
/// # Errors
///
/// If one of them has more than [`REQID_BYTES_MAX`] bytes.
pub fn check_texts(event: &Event) -> Result<(), TextTooLong> {
    if !event.name.ends_with(b"_request") {
        return Ok(());
    }
    let is_long = |data: &Data| matches!(data, Data::String(text) if text.len() > REQID_BYTES_MAX);
    let mut args = event.args.iter();
    if args.next().is_some_and(is_long) {
        return Err(TextTooLong::RequestId);
    }
    let mut names = args.flat_map(|arg| match arg {
        Data::Vector(elements) => elements.iter().collect(),
        Data::Set(elements) => elements.iter().collect(),
        arg => vec![arg],
    });
    if names.any(is_long) {
        return Err(TextTooLong::Name);
    }
    Ok(())
}
