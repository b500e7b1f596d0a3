use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use broker_codec::{
    Recipients,
    data::{Data, ZeekString},
};

use super::{event::ClientId, outbound::Outbound};
use crate::sync::lock;

/// JSON longer than this is read and written on threads for blocking work, so that no other task waits for it.
pub(super) const INLINE_JSON_MAX: usize = 64 * 1024;

/// Who subscribed to what.
#[derive(Debug, Default)]
pub(super) struct Hub {
    subscribers: Mutex<BTreeMap<ClientId, Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    topics: Vec<ZeekString>,
    outbound: Arc<Outbound>,
}

impl Hub {
    /// From now on the client gets what is published on topics that begin with one of these.
    pub(super) fn subscribe(&self, client: ClientId, topics: Vec<ZeekString>, outbound: Arc<Outbound>) {
        lock(&self.subscribers).insert(client, Subscriber { topics, outbound });
    }

    pub(super) fn remove(&self, client: ClientId) {
        lock(&self.subscribers).remove(&client);
    }

    /// Where a message on this topic goes, of those that may get it.
    pub(super) fn recipients(&self, topic: &[u8], among: &Recipients<u64>) -> Vec<Arc<Outbound>> {
        lock(&self.subscribers)
            .iter()
            .filter(|(client, _)| among.include(&client.number()))
            .filter(|(_, subscriber)| subscriber.topics.iter().any(|prefix| topic.starts_with(prefix)))
            .map(|(_, subscriber)| Arc::clone(&subscriber.outbound))
            .collect()
    }
}

/// Whether a value is so large that work on it does not belong into a task that others wait for: its JSON is probably longer
/// than 64 KiB. Looks only at as much as it must.
pub fn is_long(data: &Data) -> bool {
    /// About what `{"@data-type":"count","data":1}` and the like take.
    const VALUE_LEN: usize = 40;

    fn charge(data: &Data, budget: &mut usize) -> bool {
        let cost = match data {
            Data::String(text) => VALUE_LEN.saturating_add(text.len()),
            _ => VALUE_LEN,
        };
        let Some(rest) = budget.checked_sub(cost) else {
            return false;
        };
        *budget = rest;
        match data {
            Data::Vector(elements) => elements.iter().all(|element| charge(element, budget)),
            Data::Set(elements) => elements.iter().all(|element| charge(element, budget)),
            Data::Table(entries) => entries
                .iter()
                .all(|(key, value)| charge(key, budget) && charge(value, budget)),
            _ => true,
        }
    }

    let mut budget = INLINE_JSON_MAX;
    !charge(data, &mut budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound() -> Arc<Outbound> {
        Arc::new(Outbound::new(1, 1))
    }

    #[test]
    fn topics_match_by_prefix_and_never_come_back_to_their_publisher() {
        let hub = Hub::default();
        let [controller, everything, nothing] = [(); 3].map(|()| outbound());
        hub.subscribe(
            ClientId(0),
            vec!["x".into(), "zeek/management".into()],
            Arc::clone(&controller),
        );
        hub.subscribe(ClientId(1), vec!["".into()], Arc::clone(&everything));
        hub.subscribe(ClientId(2), vec![], nothing);
        let who = |topic: &str, from: Option<u64>| -> Vec<&str> {
            let among = from.map_or_else(Recipients::all, |from| Recipients::Except([from].into()));
            hub.recipients(topic.as_bytes(), &among)
                .iter()
                .map(|to| {
                    if Arc::ptr_eq(to, &controller) {
                        "controller"
                    } else {
                        "everything"
                    }
                })
                .collect()
        };
        assert_eq!(
            who("zeek/management/controller", None),
            ["controller", "everything"]
        );
        assert_eq!(who("zeek/management", None), ["controller", "everything"]);
        assert_eq!(who("zeek/managemen", None), ["everything"]);
        assert_eq!(who("", None), ["everything"]);
        assert_eq!(who("xyz", Some(0)), ["everything"]);
        assert_eq!(who("xyz", Some(1)), ["controller"]);
        assert_eq!(who("xyz", Some(2)), ["controller", "everything"]);
        hub.remove(ClientId(1));
        assert_eq!(who("zeek/managemen", None), [""; 0]);
    }

    #[test]
    fn long_values_are_told_from_short_ones() {
        let count = |number: usize| Data::Vector(vec![Data::Count(1); number]);
        assert!(!is_long(&Data::None));
        assert!(!is_long(&count(1000)));
        assert!(is_long(&count(10_000)));
        assert!(is_long(&Data::Vector(vec![count(1000), count(1000)])));
        assert!(!is_long(&Data::String("x".repeat(60_000).into())));
        assert!(is_long(&Data::String("x".repeat(70_000).into())));
    }
}
