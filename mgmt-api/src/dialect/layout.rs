//! Which of all APIs an event is of.

use broker_codec::zeek::Event;

use super::api::Dialect;
use crate::{schema::Layout, supervisor::SupervisorLayout};

impl Layout {
    /// The latest that an event can have been written in; where it is in none, the latest that has an event of this name.
    pub fn of(event: &Event) -> Self {
        let dialects = Dialect::ALL.into_iter().rev().map(Dialect::table);
        let tables = dialects.chain(
            SupervisorLayout::ALL
                .into_iter()
                .rev()
                .map(SupervisorLayout::table),
        );
        let mut found = tables.filter_map(|table| table.event(&event.name));
        let latest = found.next();
        let admitting = latest
            .into_iter()
            .chain(found)
            .find(|found| found.admits(&event.args));
        admitting.or(latest).map_or(Self::MODEL, Self::from)
    }
}
