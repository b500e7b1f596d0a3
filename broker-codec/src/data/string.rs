use std::{
    borrow::{Borrow, Cow},
    fmt,
    ops::Deref,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use super::excerpt::Excerpt;

/// A Zeek string: any bytes, usually but not necessarily UTF-8.
///
/// Compared bytewise, as Zeek and Broker do. Text from outside that is shown to people has this type, whatever it came in:
/// what [`fmt::Display`] and [`fmt::Debug`] write is an [`Excerpt`], escaped and cut. The bytes themselves are had by
/// [`Self::as_bytes`], [`Self::as_str`] and [`Self::to_str_lossy`] only.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZeekString(Vec<u8>);

impl ZeekString {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if the bytes are valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// All of the text, with U+FFFD for what is not UTF-8: for data, such as a path or a value of JSON, not for people.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The text as it may be shown to people, longer than a name: at most so many bytes of it.
    pub fn excerpt(&self, bytes_max: usize) -> Excerpt<'_> {
        Excerpt::new(&self.0).at_most(bytes_max)
    }

    /// The bytes, without copying them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Deref for ZeekString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ZeekString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for ZeekString {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ZeekString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Excerpt::new(&self.0), f)
    }
}

impl fmt::Debug for ZeekString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Excerpt::new(&self.0), f)
    }
}

impl From<&str> for ZeekString {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for ZeekString {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&[u8]> for ZeekString {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for ZeekString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl PartialEq<str> for ZeekString {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ZeekString {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// A string to human-readable formats where it is UTF-8, else bytes.
impl Serialize for ZeekString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

pub(crate) fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
        _ => serializer.serialize_bytes(bytes),
    }
}

impl<'de> Deserialize<'de> for ZeekString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringVisitor;

        impl<'de> Visitor<'de> for StringVisitor {
            type Value = ZeekString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ZeekString, E> {
                Ok(text.into())
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<ZeekString, E> {
                Ok(bytes.into())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<ZeekString, E> {
                Ok(ZeekString(bytes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<ZeekString, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = access.next_element()? {
                    bytes.push(byte);
                }
                Ok(ZeekString(bytes))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_any(StringVisitor)
        } else {
            deserializer.deserialize_byte_buf(StringVisitor)
        }
    }
}
