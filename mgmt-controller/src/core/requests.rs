//! Requests on their way: kept, passed on, answered, given up.

use std::time::Duration;

use broker_codec::data::ZeekString;
use mgmt_api::{
    AgentRequest, ClientRequest, ClientResponse, ENDING, Now, Principal, RequestKind, ResultRecord,
    TIMED_OUT, log::listed,
};

use super::{
    action::{Action, Audience, Outgoing},
    cluster::Cluster,
    pending::{Key, Logged, Pending},
    turn::Turn,
};
use crate::Counted;

impl Cluster {
    /// Answers the requests whose time is up, and repeats welcomes. If both are due at once, requests come first.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        loop {
            let (welcome, request) = (self.members.deadline(), self.requests.deadline());
            let is_first = |welcome: Now| request.is_none_or(|request| welcome < request);
            if welcome.is_some_and(|welcome| welcome <= turn.now && is_first(welcome)) {
                self.members.expire(turn);
                continue;
            }
            let Some((key, pending)) = self.requests.pop_expired(turn.now) else {
                return;
            };
            let reqid = key.reqid().clone();
            let (results, logged) = match pending {
                Pending::Deployment => {
                    self.deployment_expired(turn, key);
                    continue;
                }
                Pending::Asking(asking) => {
                    self.told_all(turn, asking);
                    continue;
                }
                Pending::Step(instance) => {
                    self.step_due(turn, &reqid, &instance);
                    continue;
                }
                Pending::Agents(fanout) => (fanout.timed_out(&reqid), Logged::Pending),
                Pending::Staging { .. } => (vec![timed_out(&reqid)], Logged::Finished),
                Pending::Timeout => (vec![timed_out(&reqid)], Logged::Id),
            };
            turn.info(format!("request {reqid} timed out"));
            if let Key::Client(kind, _) = key {
                self.respond(turn, kind, reqid, results, logged);
            }
        }
    }

    /// Answers the requests that wait when the process is about to end.
    ///
    /// DIFFERENCE(ending): Zeek disconnects its clients without a word.
    pub(super) fn stopping(&mut self, turn: &mut Turn<'_>) {
        let ever = Now::from_start(Duration::MAX);
        while let Some((key, _)) = self.requests.pop_expired(ever) {
            if let Key::Client(kind, reqid) = key {
                let results = vec![ResultRecord::failure(reqid.clone(), ENDING)];
                self.respond(turn, kind, reqid, results, Logged::Finished);
            }
        }
    }

    /// Keeps a request until it is answered or its time is up.
    pub(super) fn await_answer(&mut self, turn: &Turn<'_>, key: Key, pending: Pending) {
        self.await_until(turn.now + self.settings.request_timeout, key, pending);
    }

    /// Keeps a request until it is answered or this time has come.
    pub(super) fn await_until(&mut self, deadline: Now, key: Key, pending: Pending) {
        let inserted = self.requests.insert(key, deadline, pending);
        debug_assert!(inserted.is_ok(), "a live request is never asked for again");
    }

    /// Asks instances, each under an id of its own, and keeps the request until they have answered. Without instances
    /// the request is answered at once, and fails.
    ///
    /// DIFFERENCE(no-agent-to-ask): Zeek lets the request time out if no agent can be asked.
    pub(super) fn ask_agents(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        instances: Vec<ZeekString>,
        mut results: Vec<ResultRecord>,
        request: impl Fn(ZeekString) -> AgentRequest,
    ) {
        if instances.is_empty() {
            let reqid = key.reqid().clone();
            if results.is_empty() {
                results.push(ResultRecord::failure(reqid.clone(), "no instances ready"));
            }
            if let Key::Client(kind, _) = key {
                self.respond(turn, kind, reqid, results, Logged::Pending);
            }
            return;
        }
        let fanout = self
            .members
            .ask(turn, instances, results, |reqid, _| request(reqid));
        self.await_answer(turn, key, Pending::Agents(fanout));
    }

    /// Answers a request with one failure.
    pub(super) fn refuse(
        &mut self,
        turn: &mut Turn<'_>,
        kind: RequestKind,
        reqid: ZeekString,
        error: impl Into<ZeekString>,
        logged: Logged,
    ) {
        let results = vec![ResultRecord::failure(reqid.clone(), error)];
        self.respond(turn, kind, reqid, results, logged);
    }

    /// Refuses what a client may not. The answer is for it alone: another one may have asked under the same id, and may.
    pub(super) fn forbid(
        &mut self,
        turn: &mut Turn<'_>,
        principal: &Principal,
        request: &ClientRequest,
        reason: ZeekString,
    ) {
        let (event, reqid) = (request.event_name(), request.reqid().clone());
        turn.counters.increment(Counted::RequestsForbidden);
        turn.warning(format!("refusing {event} {reqid} of {principal}: {reason}"));
        let results = vec![ResultRecord::failure(reqid.clone(), reason)];
        let response = ClientResponse::new(request.kind(), reqid, results);
        self.publish(turn, response, Logged::Pending, Audience::asker(principal));
    }

    /// Answers a request. The caller sees to it that it happens once.
    pub(super) fn respond(
        &mut self,
        turn: &mut Turn<'_>,
        kind: RequestKind,
        reqid: ZeekString,
        results: Vec<ResultRecord>,
        logged: Logged,
    ) {
        if let Some(id) = self.operators.remove(&reqid) {
            if let Some(id) = id {
                self.answer_operator(turn, id, kind, &reqid, &results);
            }
            return;
        }
        let several = self.members.instances.wanted.len() > 1;
        let readable = |result| match kind {
            RequestKind::Restart => readable_restart(result),
            _ if several => named_error(result),
            _ => result,
        };
        let results = results.into_iter().map(readable).collect();
        let response = ClientResponse::new(kind, reqid, results);
        self.publish(turn, response, logged, Audience::Subscribers);
    }

    fn publish(&self, turn: &mut Turn<'_>, response: ClientResponse, logged: Logged, to: Audience) {
        let (event, reqid) = (response.event_name(), response.reqid());
        let results = listed(response.results());
        turn.info(match logged {
            Logged::Id => format!("tx {event} {reqid}"),
            Logged::Result => format!("tx {event} {results}"),
            Logged::Pending => format!("tx {event} [request {reqid} pending, results: {results}]"),
            Logged::Finished => format!("tx {event} [request {reqid} finished, results: {results}]"),
        });
        turn.push(Action::Publish {
            topic: self.settings.topic.clone(),
            event: Outgoing::Client(response),
            to,
        });
    }
}

fn timed_out(reqid: &ZeekString) -> ResultRecord {
    ResultRecord::failure(reqid.clone(), TIMED_OUT)
}

/// What clients get of a result: the error of a failed one has no instance. Only then does zeek-client print it (`cmd_restart`, 1.2.0 to
/// 1.5.0); with an instance it prints `false` for the node and succeeds, or a Python object if there is no node.
///
/// DIFFERENCE(failed-restarts): Zeek passes on what agents answer.
fn readable_restart(result: ResultRecord) -> ResultRecord {
    let Some(instance) = result.instance.as_ref().filter(|_| !result.success) else {
        return result;
    };
    let error = match result.error.as_ref() {
        Some(error) if result.node.is_some() => error.clone(),
        Some(error) => naming(instance, error),
        None => format!("instance {instance} gives no reason").into(),
    };
    ResultRecord {
        instance: None,
        error: Some(error),
        ..result
    }
}

/// A failed result that is about no node: zeek-client prints its error, and not its instance.
///
/// DIFFERENCE(named-errors): Zeek passes on what agents answer.
fn named_error(result: ResultRecord) -> ResultRecord {
    let (Some(instance), Some(error), None, false) =
        (&result.instance, &result.error, &result.node, result.success)
    else {
        return result;
    };
    let error = Some(naming(instance, error));
    ResultRecord { error, ..result }
}

/// An error with the name of the instance that it is about.
fn naming(instance: &ZeekString, error: &ZeekString) -> ZeekString {
    let name = format!("instance {instance}");
    let text = error.to_string();
    let found = text.find(&name).and_then(|at| text.get(at + name.len()..));
    let is_named = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || "-_.".contains(c));
    if found.is_some_and(is_named) {
        return error.clone();
    }
    [name.as_bytes(), b": ", error.as_bytes()]
        .concat()
        .as_slice()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_instance_once_and_not_one_whose_name_only_begins_alike() {
        for (error, shown) in [
            ("instance sensor1 is lost", "instance sensor1 is lost"),
            (
                "unlike instance sensor10",
                "instance sensor1: unlike instance sensor10",
            ),
        ] {
            assert_eq!(naming(&"sensor1".into(), &error.into()), shown);
        }
    }
}
