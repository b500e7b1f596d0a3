use broker_codec::data::ZeekString;
use mgmt_api::{Level, LogLine};

use super::action::Action;

pub(super) type Turn = mgmt_api::Turn<Action>;

impl From<LogLine> for Action {
    fn from(LogLine { level, message }: LogLine) -> Self {
        Self::Log {
            level,
            reqid: None,
            message,
        }
    }
}

/// A line about a request, which need not be what the input is about.
pub(super) fn about_request(reqid: &ZeekString, message: String) -> Action {
    Action::Log {
        level: Level::Info,
        reqid: Some(reqid.clone()),
        message,
    }
}
