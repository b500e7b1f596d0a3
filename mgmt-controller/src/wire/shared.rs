//! What is sent to many agents and differs little from one to the other: what they share is encoded once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use broker_codec::{
    Data, Payload,
    data::ZeekString,
    zeek::{Event, SharedEnd, SharedEvent},
};
use mgmt_api::{AgentRequest, Configuration, Dialect, dialect::Topics, link};

use super::messages::NotSaid;
use crate::core::SharedRequest;

/// The request to an agent to deploy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deploy {
    pub(super) reqid: ZeekString,
    pub(super) config: Arc<Configuration>,
    pub(super) force: bool,
}

impl Deploy {
    pub(super) fn to_event(&self) -> Result<Event, NotSaid> {
        let request = AgentRequest::Deploy {
            reqid: self.reqid.clone(),
            config: Arc::clone(&self.config),
            force: self.force,
        };
        Ok(Event::of(&request)?)
    }
}

/// The configuration that an agent was given last, as it travels in each dialect: agents get it one after the other.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    /// Weak, so that the memory of a configuration is not kept, and yet no other one gets its address.
    config: Weak<Configuration>,
    force: bool,
    /// None for a dialect that has no such event.
    encoded: BTreeMap<Dialect, Option<SharedEvent>>,
}

impl HandedOut {
    /// What an agent of this dialect gets.
    pub(super) fn say(&mut self, dialect: Dialect, deploy: &Deploy) -> Result<Option<Payload>, NotSaid> {
        let Deploy { reqid, config, force } = deploy;
        if !self.config.ptr_eq(&Arc::downgrade(config)) || self.force != *force {
            *self = Self {
                config: Arc::downgrade(config),
                force: *force,
                encoded: BTreeMap::new(),
            };
        }
        let shared = if let Some(shared) = self.encoded.get(&dialect) {
            shared
        } else {
            // Its topic is not looked at.
            let said = dialect.say(&Topics::default(), b"", &deploy.to_event()?)?;
            let shared = said.map(|said| SharedEvent::new(&said.event.native()));
            self.encoded.entry(dialect).or_insert(shared.transpose()?)
        };
        let first = Data::String(reqid.clone());
        Ok(shared.as_ref().map(|shared| shared.with(&first)).transpose()?)
    }
}

/// The end of the last request of the extension that many get.
#[derive(Debug, Default)]
pub(super) struct Asked {
    rest: Weak<ZeekString>,
    encoded: Option<SharedEnd>,
}

impl Asked {
    pub(super) fn say(&mut self, request: &SharedRequest) -> Result<Payload, NotSaid> {
        let SharedRequest {
            reqid,
            kind,
            json,
            rest,
        } = request;
        let is_known = self.rest.ptr_eq(&Arc::downgrade(rest));
        let end = match self.encoded.take().filter(|_| is_known) {
            Some(end) => end,
            None => SharedEnd::new(rest)?,
        };
        self.rest = Arc::downgrade(rest);
        let event = Event {
            name: link::REQUEST.into(),
            args: vec![Data::String(reqid.clone()), Data::String(kind.clone())],
            metadata: None,
        };
        let end = self.encoded.insert(end);
        Ok(end.after(event, json)?)
    }
}
