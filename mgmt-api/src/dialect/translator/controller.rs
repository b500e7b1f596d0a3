//! What clients of a controller are answered.

use std::collections::BTreeSet;

use broker_codec::{Data, data::ZeekString, zeek::Event};

use super::{Published, Topics, as_one, fault};
use crate::{
    controller::{ClientResponse, RequestKind},
    dialect::api::{Dialect, DialectError},
    records::ResultRecord,
};

/// Whether an event asks for a configuration to be set, which the model takes in two steps: it is staged and, if that succeeds,
/// deployed. Clients and controllers up to 5.0.0-rc1 do.
pub fn sets_configuration(event: &Event) -> bool {
    event.name.ends_with(b"::set_configuration_request")
}

/// Answers to one client, in its dialect.
#[derive(Clone, Debug)]
pub struct Answers {
    /// What the client speaks, as far as is known.
    pub dialect: Dialect,
    /// The ids of the requests to set a configuration that are not answered.
    configurations: BTreeSet<ZeekString>,
}

impl Answers {
    /// For a client that has said nothing, and is taken to speak this.
    pub const fn new(assumed: Dialect) -> Self {
        Self {
            dialect: assumed,
            configurations: BTreeSet::new(),
        }
    }

    /// The client has asked for a configuration to be set; of a request that is under way this changes nothing.
    pub fn set_configuration(&mut self, reqid: ZeekString) {
        self.configurations.insert(reqid);
    }

    /// What the client hears of an answer of the core's: of staging and deploying it hears once, when both have been done or one of them
    /// has failed.
    pub fn say(
        &mut self,
        topics: &Topics,
        topic: &[u8],
        event: &Event,
    ) -> Result<Option<Published>, DialectError> {
        let name = event.name.as_str().unwrap_or_default();
        let of_configuration = [
            "Management::Controller::API::stage_configuration_response",
            "Management::Controller::API::deploy_response",
        ]
        .contains(&name);
        if self.dialect >= Dialect::V5_0 || !of_configuration {
            return self.dialect.say(topics, topic, event);
        }
        let response: ClientResponse = event.clone().parse().map_err(fault)?;
        let is_staged = response.kind() == RequestKind::StageConfiguration
            && response.results().iter().all(|result| result.success);
        if is_staged || !self.configurations.remove(response.reqid()) {
            return Ok(None);
        }
        let results = response.results().to_vec();
        let answer = configuration_set(self.dialect, response.reqid().clone(), results)?;
        self.dialect.say(topics, topic, &answer)
    }
}

/// The answer to a client's request to set a configuration: the agents' results, of which 4.x has one for each, and the
/// controller's failures. The id of the configuration came with 5.0.
pub(super) fn configuration_set(
    dialect: Dialect,
    reqid: ZeekString,
    results: Vec<ResultRecord>,
) -> Result<Event, DialectError> {
    let is_id = |result: &ResultRecord| {
        result.success && result.instance.is_none() && matches!(result.data, Some(Data::String(_)))
    };
    let mut results: Vec<_> = results.into_iter().filter(|result| !is_id(result)).collect();
    if dialect <= Dialect::V4_2 {
        results = one_for_each_instance(&reqid, results);
    }
    Event::of(&ClientResponse::Deploy { reqid, results }).map_err(fault)
}

/// One result for each instance, in the order in which they come up, among the results that belong to none.
fn one_for_each_instance(reqid: &ZeekString, results: Vec<ResultRecord>) -> Vec<ResultRecord> {
    let mut by_instance: Vec<(Option<ZeekString>, Vec<ResultRecord>)> = Vec::new();
    for result in results {
        let place = by_instance
            .iter_mut()
            .find(|(instance, _)| instance.is_some() && *instance == result.instance);
        match place {
            Some((_, of_instance)) => of_instance.push(result),
            None => by_instance.push((result.instance.clone(), vec![result])),
        }
    }
    by_instance
        .into_iter()
        .map(|(instance, results)| as_one(reqid.clone(), instance, &results))
        .collect()
}
