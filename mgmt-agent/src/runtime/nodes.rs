//! What starts and ends processes of nodes, where no Supervisor of Zeek's does.

use crate::supervisors::own::{News, Order};

/// The one that the settings name.
pub(super) enum Nodes {}

impl Nodes {
    /// Has something done. Returns at once; what becomes of it is news.
    pub(super) fn order(&self, _order: Order) {
        match *self {}
    }

    /// What happens next. May be cancelled without losing anything.
    #[expect(clippy::unused_async, reason = "there is none yet")]
    pub(super) async fn next(&mut self) -> Option<News> {
        match *self {}
    }
}
