//! The spaces that Broker's own WebSocket server writes into JSON up to Zeek 6.1, and no other does (W-36).

use bytes::Bytes;

/// A text without white space between its tokens.
pub(super) fn without_spaces(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    for byte in text {
        if inside {
            inside = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            inside = *byte == b'"';
        }
        out.push(*byte);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_between_tokens_goes() {
        assert_eq!(
            without_spaces(br#"{"a b": [1, "c \" \\", " d"]}"#),
            &br#"{"a b":[1,"c \" \\"," d"]}"#[..]
        );
        assert_eq!(without_spaces(br#"{"a":" "}"#), &br#"{"a":" "}"#[..]);
    }
}
