use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The 16-byte id of an endpoint; a UUID in text.
///
/// The order is that of the bytes (`endpoint_id.hh`, `compare`); the smaller of two ids is the originator of a handshake.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId([u8; Self::LEN]);

impl EndpointId {
    /// Size on the wire, in bytes.
    pub const LEN: usize = 16;

    /// Sixteen zero bytes: as a receiver it stands for all peers, elsewhere for none.
    pub const NIL: Self = Self([0; Self::LEN]);

    /// An id as it came from a peer; any bytes are possible.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// An id of our own from 16 random bytes: a UUID of version 4.
    ///
    /// Zeek turns ids into text and back, and its parser refuses UUID versions other than 1 to 5: to an endpoint with
    /// another id Zeek never sends an event (CAF's `uuid.cpp`, `parse_impl`).
    #[must_use]
    pub const fn from_random(mut bytes: [u8; Self::LEN]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The bytes, in the order of the text form.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub fn is_nil(&self) -> bool {
        *self == Self::NIL
    }
}

/// A text is not an endpoint id in the form `01234567-89ab-cdef-0123-456789abcdef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an endpoint id of the form 01234567-89ab-4def-8123-456789abcdef")]
pub struct ParseEndpointIdError;

impl FromStr for EndpointId {
    type Err = ParseEndpointIdError;

    /// Reads hex digits of either case, grouped 8-4-4-4-12.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.replace('-', "");
        let is_grouped = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        // The parser of numbers takes a sign, too.
        if !is_grouped || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ParseEndpointIdError);
        }
        let number = u128::from_str_radix(&digits, 16).map_err(|_| ParseEndpointIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EndpointId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for EndpointId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            <[u8; Self::LEN]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_form_is_lower_case_8_4_4_4_12() {
        let id = EndpointId::from_bytes([
            0x91, 0x42, 0xa1, 0xb5, 0x68, 0xa6, 0x5b, 0x4e, 0xa9, 0xa6, 0xce, 0xca, 0xd2, 0x27, 0x75, 0xe3,
        ]);
        assert_eq!(id.to_string(), "9142a1b5-68a6-5b4e-a9a6-cecad22775e3");
        assert_eq!("9142A1B5-68a6-5b4e-a9a6-cecad22775E3".parse(), Ok(id));
        assert_eq!(id.as_bytes()[6] >> 4, 5);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "9142a1b568a65b4ea9a6cecad22775e3",
            "9142a1b5-68a6-5b4e-a9a6-cecad22775e",
            "9142a1b5-68a6-5b4e-a9a6-cecad22775e3-",
            "9142a1b5-68a6-5b4e-a9a6-cecad22775e3-00",
            "9142a1b56-8a6-5b4e-a9a6-cecad22775e3",
            "9142a1b5-68a6-5b4e-a9a6-cecad22775g3",
            "9142a1b5-68a6-5b4e-a9a6-cecad22775\u{e9}",
            "+142a1b5-68a6-5b4e-a9a6-cecad22775e3",
        ] {
            assert_eq!(text.parse::<EndpointId>(), Err(ParseEndpointIdError), "{text}");
        }
    }

    #[test]
    fn nil_is_nil() {
        assert!(EndpointId::NIL.is_nil());
        assert!(!EndpointId::from_bytes([0x66; 16]).is_nil());
    }

    proptest! {
        #[test]
        fn own_ids_are_random_uuids(bytes: [u8; 16]) {
            let id = EndpointId::from_random(bytes);
            prop_assert_eq!(id.as_bytes()[6] >> 4, 4);
            prop_assert_eq!(id.as_bytes()[8] >> 6, 0b10);
        }

        #[test]
        fn text_and_order_are_those_of_the_bytes(a: [u8; 16], b: [u8; 16]) {
            let (x, y) = (EndpointId::from_bytes(a), EndpointId::from_bytes(b));
            prop_assert_eq!(x.to_string().parse(), Ok(x));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }
}
