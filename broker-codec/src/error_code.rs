use std::fmt;

use serde::{Deserialize, Serialize};

/// Broker's error code (`error.hh`, `ec`): one byte, of which any value can be carried and printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u8);

macro_rules! error_codes {
    ($($code:literal $constant:ident $name:literal)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: Self = Self($code);
            )*

            /// Broker's name of the code (`error.cc`), if the code is one of Broker's.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    0 NONE "none"
    1 UNSPECIFIED "unspecified"
    2 PEER_INCOMPATIBLE "peer_incompatible"
    3 PEER_INVALID "peer_invalid"
    4 PEER_UNAVAILABLE "peer_unavailable"
    5 PEER_DISCONNECT_DURING_HANDSHAKE "peer_disconnect_during_handshake"
    6 PEER_TIMEOUT "peer_timeout"
    7 MASTER_EXISTS "master_exists"
    8 NO_SUCH_MASTER "no_such_master"
    9 NO_SUCH_KEY "no_such_key"
    10 REQUEST_TIMEOUT "request_timeout"
    11 TYPE_CLASH "type_clash"
    12 INVALID_DATA "invalid_data"
    13 BACKEND_FAILURE "backend_failure"
    14 STALE_DATA "stale_data"
    15 CANNOT_OPEN_FILE "cannot_open_file"
    16 CANNOT_WRITE_FILE "cannot_write_file"
    17 INVALID_TOPIC_KEY "invalid_topic_key"
    18 END_OF_FILE "end_of_file"
    19 INVALID_TAG "invalid_tag"
    20 INVALID_MESSAGE "invalid_message"
    21 INVALID_STATUS "invalid_status"
    22 CONVERSION_FAILED "conversion_failed"
    23 CONSUMER_EXISTS "consumer_exists"
    24 CONNECTION_TIMEOUT "connection_timeout"
    25 BAD_MEMBER_FUNCTION_CALL "bad_member_function_call"
    26 REPEATED_REQUEST_ID "repeated_request_id"
    27 BROKEN_CLONE "broken_clone"
    28 SHUTTING_DOWN "shutting_down"
    29 INVALID_PEERING_REQUEST "invalid_peering_request"
    30 REPEATED_PEERING_HANDSHAKE_REQUEST "repeated_peering_handshake_request"
    31 UNEXPECTED_HANDSHAKE_MESSAGE "unexpected_handshake_message"
    32 INVALID_HANDSHAKE_STATE "invalid_handshake_state"
    33 NO_PATH_TO_PEER "no_path_to_peer"
    34 NO_CONNECTOR_AVAILABLE "no_connector_available"
    35 CANNOT_OPEN_RESOURCE "cannot_open_resource"
    36 SERIALIZATION_FAILED "serialization_failed"
    37 DESERIALIZATION_FAILED "deserialization_failed"
    38 WRONG_MAGIC_NUMBER "wrong_magic_number"
    39 REDUNDANT_CONNECTION "redundant_connection"
    40 LOGIC_ERROR "logic_error"
}

impl ErrorCode {
    /// Whether Broker takes a `drop_conn` with this code: 0 to 40. Code 41, `invalid_json`, exists without a name.
    pub const fn is_known(self) -> bool {
        self.name().is_some()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_0_to_40_have_names_and_no_others() {
        for code in 0..=u8::MAX {
            assert_eq!(ErrorCode(code).is_known(), code <= 40, "{code}");
        }
    }

    #[test]
    fn unknown_codes_are_printed_as_numbers() {
        assert_eq!(
            ErrorCode::REDUNDANT_CONNECTION.to_string(),
            "redundant_connection"
        );
        assert_eq!(format!("{:?}", ErrorCode::LOGIC_ERROR), "logic_error(40)");
        assert_eq!(ErrorCode(41).to_string(), "error code 41");
    }
}
