use mgmt_api::LogLine;

use super::action::Action;

pub(super) type Turn = mgmt_api::Turn<Action>;

impl From<LogLine> for Action {
    fn from(LogLine { level, message }: LogLine) -> Self {
        Self::Log { level, message }
    }
}
