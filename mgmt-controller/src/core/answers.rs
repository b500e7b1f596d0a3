//! The agents' answers to what a request asked of them.

use broker_codec::{
    Data,
    data::{ZeekString, from_data},
};
use mgmt_api::{NodeOutputs, NodeStatus, RequestKind, ResultRecord};

use super::{
    controller::Controller,
    fanout::{Answer, Fanout},
    requests::{Key, Logged, Pending},
    turn::Turn,
};

impl Controller {
    /// Takes the answer of the agent of instance `name` in, if that agent was asked for it, under this id and by a
    /// request of this kind, and has not answered yet.
    pub(super) fn answered(
        &mut self,
        turn: &mut Turn,
        kind: RequestKind,
        name: &ZeekString,
        reqid: &ZeekString,
        results: Vec<ResultRecord>,
    ) {
        let waits = |fanout: &Fanout| fanout.awaits(reqid, name);
        let results = || {
            let checked = results
                .into_iter()
                .map(|result| checked(kind, name, reqid, result));
            checked.collect()
        };
        if kind == RequestKind::Deploy {
            if let Some(fanout) = self.deploying()
                && waits(fanout)
            {
                if fanout.answer(reqid, name, results()) == Answer::Last {
                    self.deployed(turn);
                }
                return;
            }
        } else if let Some(key) =
            self.awaiting(|key, fanout| matches!(key, Key::Client(own, _) if *own == kind) && waits(fanout))
        {
            self.take_answer(turn, key, reqid, name, results());
            return;
        }
        turn.debug(format!(
            "ignoring answer {reqid} of {name}: no request waits for it"
        ));
        self.counters.answers_ignored += 1;
    }

    /// An agent is gone: its part of every request has failed.
    ///
    /// DIFFERENCE(lost-agents): Zeek goes on waiting for agents that are gone, until the request times out.
    pub(super) fn fail_awaited(&mut self, turn: &mut Turn, name: &ZeekString, reason: &str) {
        let error = format!("instance {name}: connection to the agent lost: {reason}");
        let failure = |reqid: &ZeekString| {
            vec![ResultRecord {
                instance: Some(name.clone()),
                ..ResultRecord::failure(reqid.clone(), error.as_str())
            }]
        };
        let asked_for_deployment = self.deploying().and_then(|fanout| fanout.asked_under(name));
        if let Some(reqid) = asked_for_deployment
            && let Some(fanout) = self.deploying()
            && fanout.answer(&reqid, name, failure(&reqid)) == Answer::Last
        {
            self.deployed(turn);
        }
        while let Some(key) = self.awaiting(|_, fanout| fanout.asked_under(name).is_some()) {
            let Some(Pending::Agents(fanout)) = self.requests.get(&key) else {
                return;
            };
            let Some(reqid) = fanout.asked_under(name) else {
                return;
            };
            let failure = failure(&reqid);
            self.take_answer(turn, key, &reqid, name, failure);
        }
    }

    /// The first request that waits for agents and is like this.
    fn awaiting(&self, is: impl Fn(&Key, &Fanout) -> bool) -> Option<Key> {
        self.requests.iter().find_map(|(key, pending)| match pending {
            Pending::Agents(fanout) if is(key, fanout) => Some(key.clone()),
            _ => None,
        })
    }

    fn take_answer(
        &mut self,
        turn: &mut Turn,
        key: Key,
        reqid: &ZeekString,
        name: &ZeekString,
        results: Vec<ResultRecord>,
    ) {
        let Some(Pending::Agents(fanout)) = self.requests.get_mut(&key) else {
            return;
        };
        if fanout.answer(reqid, name, results) != Answer::Last {
            return;
        }
        if let (Some(Pending::Agents(fanout)), Key::Client(kind, reqid)) = (self.requests.remove(&key), key) {
            self.respond(turn, kind, reqid, fanout.into_results(), Logged::Pending);
        }
    }
}

/// What is passed on of a result: an agent cannot answer in another's name, nor with data that clients cannot read.
///
/// DIFFERENCE(malformed-answers): Zeek's handler fails on such data, and the request times out.
fn checked(kind: RequestKind, name: &ZeekString, reqid: &ZeekString, result: ResultRecord) -> ResultRecord {
    let wrong = match (&result.instance, &result.data) {
        (Some(other), _) if other != name => Some(format!("agent answered for instance {other}")),
        (_, None) if kind == RequestKind::GetNodes && result.success => {
            Some("agent answered without node states".into())
        }
        (_, Some(data)) => unreadable(kind, data),
        (_, None) => None,
    };
    match wrong {
        Some(error) => ResultRecord {
            instance: Some(name.clone()),
            node: result.node,
            ..ResultRecord::failure(reqid.clone(), error)
        },
        None => ResultRecord {
            instance: Some(name.clone()),
            ..result
        },
    }
}

/// Why a result's data is not what an answer of this kind holds.
fn unreadable(kind: RequestKind, data: &Data) -> Option<String> {
    match kind {
        RequestKind::GetNodes => from_data::<Vec<NodeStatus>>(data).err(),
        RequestKind::Deploy => from_data::<NodeOutputs>(data).err(),
        RequestKind::GetIdValue => from_data::<ZeekString>(data).err(),
        _ => None,
    }
    .map(|error| format!("agent answered with data that cannot be read: {error}"))
}

/// A failed result that is about no node: zeek-client prints its error, and not its instance.
///
/// DIFFERENCE(named-errors): Zeek passes on what agents answer.
pub(super) fn named_error(result: ResultRecord) -> ResultRecord {
    let (Some(instance), Some(error), None, false) =
        (&result.instance, &result.error, &result.node, result.success)
    else {
        return result;
    };
    let error = Some(naming(instance, error));
    ResultRecord { error, ..result }
}

/// An error with the name of the instance that it is about.
pub(super) fn naming(instance: &ZeekString, error: &ZeekString) -> ZeekString {
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
