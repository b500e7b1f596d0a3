use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use broker_codec::{
    Recipients,
    data::{Data, ZeekString},
};

use super::{
    config::MayHear,
    event::{ClientId, ClientInfo},
    outbound::Outbound,
};
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
    info: ClientInfo,
    topics: Vec<ZeekString>,
    outbound: Arc<Outbound>,
    /// Whether it hears what is not for it alone.
    hears: bool,
}

/// Which clients a message is for, if they have subscribed to its topic.
#[derive(Clone, Debug)]
pub(super) enum To {
    /// Those of these that may hear what is published.
    Listeners(Recipients<u64>),
    /// This one, whatever it may hear.
    One(u64),
}

impl Hub {
    /// From now on the client gets what is published on topics that begin with one of these, if it may hear that.
    pub(super) fn subscribe(
        &self,
        info: ClientInfo,
        topics: Vec<ZeekString>,
        outbound: Arc<Outbound>,
        may_hear: &MayHear,
    ) {
        let mut subscribers = lock(&self.subscribers);
        let subscriber = Subscriber {
            hears: may_hear.check(&info),
            topics,
            outbound,
            info,
        };
        subscribers.insert(subscriber.info.client, subscriber);
    }

    /// What clients may hear has changed.
    pub(super) fn reassess(&self, may_hear: &MayHear) {
        for subscriber in lock(&self.subscribers).values_mut() {
            subscriber.hears = may_hear.check(&subscriber.info);
        }
    }

    pub(super) fn remove(&self, client: ClientId) {
        lock(&self.subscribers).remove(&client);
    }

    /// Where a message on this topic goes.
    pub(super) fn recipients(&self, topic: &[u8], to: &To) -> Vec<Arc<Outbound>> {
        let is_for = |client: ClientId, subscriber: &Subscriber| match to {
            To::Listeners(among) => subscriber.hears && among.include(&client.number()),
            To::One(number) => client.number() == *number,
        };
        lock(&self.subscribers)
            .iter()
            .filter(|(client, subscriber)| is_for(**client, subscriber))
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

    fn info(number: u64) -> ClientInfo {
        ClientInfo {
            client: ClientId(number),
            peer: ([127, 0, 0, 1], 1).into(),
            application_name: None,
            certificate: None,
        }
    }

    #[test]
    fn one_that_may_not_hear_gets_what_is_for_it_alone() {
        let hub = Hub::default();
        let only = |number| MayHear::new(move |info: &ClientInfo| info.client == ClientId(number));
        for number in [0, 1] {
            hub.subscribe(info(number), vec!["".into()], outbound(), &only(0));
        }
        let count = |to: To| hub.recipients(b"x", &to).len();
        let listeners = || To::Listeners(Recipients::all());
        assert_eq!(count(listeners()), 1);
        assert_eq!(count(To::Listeners(Recipients::one(1))), 0);
        assert_eq!(count(To::One(1)), 1);
        hub.reassess(&only(1));
        assert_eq!(count(To::Listeners(Recipients::one(1))), 1);
        hub.reassess(&MayHear::default());
        assert_eq!(count(listeners()), 2);
    }

    #[test]
    fn topics_match_by_prefix_and_never_come_back_to_their_publisher() {
        let hub = Hub::default();
        let [controller, everything, nothing] = [(); 3].map(|()| outbound());
        let all = MayHear::default();
        let topics = vec!["x".into(), "zeek/management".into()];
        hub.subscribe(info(0), topics, Arc::clone(&controller), &all);
        hub.subscribe(info(1), vec!["".into()], Arc::clone(&everything), &all);
        hub.subscribe(info(2), vec![], nothing, &all);
        let who = |topic: &str, from: Option<u64>| -> Vec<&str> {
            let among = from.map_or_else(Recipients::all, |from| Recipients::Except([from].into()));
            hub.recipients(topic.as_bytes(), &To::Listeners(among))
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
