//! What holds without agents, whatever clients ask for and whenever writes end. With agents: `world`.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Debug,
    time::Duration,
};

use broker_codec::data::{Set, ZeekString, to_data};
use mgmt_api::{ClientRequest, ClientResponse, Configuration, Instance, Now, RequestKind, SequentialIds};
use mgmt_controller::core::{Action, Configurations, Controller, Input, Outgoing, Settings, Slot, WriteId};
use proptest::{collection::vec, prelude::*, sample::select};
use serde::{Serialize, de::DeserializeOwned};

#[derive(Clone, Debug)]
enum Event {
    Request(ClientRequest),
    /// The oldest write ends.
    Persisted(bool),
    /// Seconds.
    Wait(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let reqid = || select(vec!["", "a", "b"]).prop_map(ZeekString::from);
    let configuration = (0..4u8, vec(any::<bool>(), 2)).prop_map(|(id, wanted)| {
        let instances = std::iter::zip(["host1", "host10"], wanted).filter(|(_, wanted)| *wanted);
        Configuration::new(
            format!("c{id}"),
            instances.map(|(name, _)| Instance::new(name)),
            [],
        )
    });
    let nodes = || {
        vec(select(vec!["manager", "worker"]), 0..2)
            .prop_map(|nodes| nodes.into_iter().map(ZeekString::from).collect::<Set<_>>())
    };
    let asked = prop_oneof![
        1 => reqid().prop_map(|reqid| ClientRequest::GetInstances { reqid }),
        1 => (reqid(), configuration).prop_map(|(reqid, config)| ClientRequest::StageConfiguration { reqid, config }),
        1 => (reqid(), any::<bool>()).prop_map(|(reqid, deployed)| ClientRequest::GetConfiguration { reqid, deployed }),
        3 => reqid().prop_map(|reqid| ClientRequest::Deploy { reqid }),
        1 => reqid().prop_map(|reqid| ClientRequest::GetNodes { reqid }),
        1 => (reqid(), nodes()).prop_map(|(reqid, nodes)| {
            ClientRequest::GetIdValue { reqid, id: "bits_per_uid".into(), nodes }
        }),
        1 => (reqid(), nodes()).prop_map(|(reqid, nodes)| ClientRequest::Restart { reqid, nodes }),
        1 => (reqid(), any::<bool>()).prop_map(|(reqid, with_state)| ClientRequest::TestTimeout { reqid, with_state }),
    ];
    prop_oneof![
        10 => asked.prop_map(Event::Request),
        3 => any::<bool>().prop_map(Event::Persisted),
        1 => (0..6u8).prop_map(Event::Wait),
    ]
}

/// A controller and what is known about it from outside.
struct Observed {
    controller: Controller,
    now: Now,
    /// Requests that are owed an answer.
    owed: BTreeSet<(RequestKind, ZeekString)>,
    /// Writes under way, the oldest first.
    writes: VecDeque<(WriteId, Vec<(Slot, Configuration)>)>,
    durable: Configurations,
}

impl Observed {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Request(request) => {
                if !matches!(
                    request,
                    ClientRequest::TestTimeout {
                        with_state: false,
                        ..
                    }
                ) {
                    // One that is owed an answer already is owed one answer.
                    self.owed.insert((request.kind(), request.reqid().clone()));
                }
                let client = "client-1".into();
                self.step(Input::Request { client, request });
            }
            Event::Persisted(success) => {
                let Some((write, entries)) = self.writes.pop_front() else {
                    return;
                };
                let outcome = if success {
                    for (slot, config) in entries {
                        self.durable.set(slot, config);
                    }
                    Ok(())
                } else {
                    Err("disk I/O error".into())
                };
                self.step(Input::Persisted { write, outcome });
            }
            Event::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(seconds.into());
                self.step(Input::Tick);
            }
        }
    }

    fn step(&mut self, input: Input) {
        survives_json(&input);
        let actions = self.controller.step(self.now, input);
        survives_json(&actions);
        for action in actions {
            match action {
                Action::Publish {
                    event: Outgoing::Client(response),
                    ..
                } => self.answered(&response),
                Action::Persist { write, entries, .. } => self.writes.push_back((write, entries)),
                _ => {}
            }
        }
        if let Some(deadline) = self.controller.deadline() {
            assert!(deadline > self.now && deadline - self.now <= Duration::from_secs(18));
        }
    }

    fn answered(&mut self, response: &ClientResponse) {
        let key = (response.kind(), response.reqid().clone());
        assert!(self.owed.remove(&key), "no request is owed {response:?}");
        if let ClientResponse::GetConfiguration { result, .. } = response {
            let shown = |config: &Option<Configuration>| match config {
                Some(config) => result.data.as_ref() == Some(&to_data(config).unwrap()),
                None => !result.success,
            };
            let durable = [&self.durable.staged, &self.durable.deployed];
            assert!(durable.into_iter().any(shown), "{result:?} is not durable");
        }
    }
}

fn survives_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

proptest! {
    #[test]
    fn every_request_is_answered_once(events in vec(event(), 0..80)) {
        let ids = Box::new(SequentialIds::default());
        let mut observed = Observed {
            controller: Controller::new(Settings::default(), Configurations::default(), ids),
            now: Now::START,
            owed: BTreeSet::new(),
            writes: VecDeque::new(),
            durable: Configurations::default(),
        };
        for event in events {
            observed.happen(event);
        }
        while !observed.writes.is_empty() {
            observed.happen(Event::Persisted(true));
        }
        observed.happen(Event::Wait(18));
        prop_assert!(observed.owed.is_empty(), "{:?}", observed.owed);
        prop_assert_eq!(observed.controller.deadline(), None);
    }
}
