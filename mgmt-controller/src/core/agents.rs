//! What agents say: that they are ready, how their part of a request went, and news.

use broker_codec::{
    Data, EndpointId,
    data::{ZeekString, from_data},
};
use mgmt_api::{
    AgentMessage, MESSAGE_BYTES_MAX, NodeOutputs, NodeStatus, RequestKind, ResultRecord, State, log::listed,
    topics,
};

use super::{
    action::{Action, Audience, Level, Outgoing},
    cluster::Cluster,
    deployment::Deployment,
    fanout::{Answer, Fanout},
    peers::Hello,
    pending::{Key, Logged, Pending},
    turn::{About, Turn},
};
use crate::Counted;

impl Cluster {
    /// Takes an event of the agents' API in.
    pub(super) fn agent_message(
        &mut self,
        turn: &mut Turn<'_>,
        peer: EndpointId,
        topic: &ZeekString,
        message: AgentMessage,
    ) {
        let event = message.event_name();
        if !self.members.peers.is_connected(peer) {
            return ignore(turn, format_args!("{event} of {peer}, which is not connected"));
        }
        if let AgentMessage::Hello {
            instance,
            id,
            connecting,
            api_version,
        } = message
        {
            let hello = Hello {
                instance,
                id,
                connecting,
                api_version,
            };
            if let Some(lost) = self.members.hello(turn, peer, topic, hello) {
                self.all_lost(turn, lost);
            }
            self.progress(turn);
            return;
        }
        let Some(name) = self.members.peers.name_of(peer).cloned() else {
            if message.is_farewell() {
                turn.debug(format!(
                    "an agent that speaks for no instance was stopped (peer {peer})"
                ));
                return;
            }
            return ignore(
                turn,
                format_args!("{event} of {peer}, which speaks for no instance"),
            );
        };
        if *topic != topics::agent(&self.settings.agent_topic_prefix, &name) {
            return ignore(turn, format_args!("{event} of {name} on topic {topic}"));
        }
        match message {
            AgentMessage::Hello { .. } => {}
            AgentMessage::AgentWelcome { reqid, result } => {
                turn.info(format!("rx {event} {reqid}"));
                if self.members.welcome_answered(turn, &name, &reqid, &result) {
                    self.became_ready(turn, &name);
                }
            }
            AgentMessage::AgentStandby { result, .. } => {
                turn.debug(format!("rx {event} from {name}"));
                if result.success {
                    self.members.stands_by(turn, &name);
                }
            }
            AgentMessage::Deploy { reqid, results } => {
                turn.info(format!("rx {event} {reqid} {}", listed(&results)));
                self.answered(turn, RequestKind::Deploy, &name, &reqid, results);
            }
            AgentMessage::GetNodes { reqid, result } => {
                turn.info(format!("rx {event} {reqid}"));
                self.answered(turn, RequestKind::GetNodes, &name, &reqid, vec![result]);
            }
            AgentMessage::NodeDispatch { reqid, results } => {
                turn.info(format!("rx {event} {reqid}"));
                self.answered(turn, RequestKind::GetIdValue, &name, &reqid, results);
            }
            AgentMessage::Restart { reqid, results } => {
                turn.info(format!("rx {event} {reqid}"));
                self.answered(turn, RequestKind::Restart, &name, &reqid, results);
            }
            news @ (AgentMessage::Change { .. } | AgentMessage::Error { .. } | AgentMessage::Log { .. }) => {
                self.news(turn, &name, news);
            }
        }
    }

    /// Something happened at an agent.
    ///
    /// DIFFERENCE(news): Zeek's controller ignores `notify_change`, `notify_error` and `notify_log`. Here they are logged and
    /// passed on as they are, on a topic of their own: on the others clients get what Zeek sends, and nothing else.
    fn news(&mut self, turn: &mut Turn<'_>, name: &ZeekString, news: AgentMessage) {
        let (verb, instance, level, text) = match &news {
            AgentMessage::Change {
                instance,
                n,
                old,
                new,
            } => {
                turn.counters.increment(Counted::AgentChanges);
                let text = format!("{} {old} {new}", n.name);
                ("notify_change", instance, Level::Info, text)
            }
            AgentMessage::Error { instance, msg, node } => {
                turn.counters.increment(Counted::AgentErrors);
                ("notify_error", instance, Level::Error, about(node, msg))
            }
            AgentMessage::Log { instance, msg, node } => {
                turn.counters.increment(Counted::AgentLogs);
                ("notify_log", instance, Level::Info, about(node, msg))
            }
            _ => return,
        };
        if instance != name {
            return ignore(turn, format_args!("{verb} of {name} about instance {instance}"));
        }
        if let AgentMessage::Log { msg, .. } = &news
            && news.is_farewell()
        {
            self.members
                .peers
                .leaves(name, msg.excerpt(MESSAGE_BYTES_MAX).to_string());
        }
        if let (AgentMessage::Change { n, new, .. }, Some(deployed)) = (&news, &self.configurations.deployed)
        {
            self.heard.changed(deployed, name, &n.name, *new);
        }
        if let AgentMessage::Change { n, new, .. } = &news {
            self.step_heard(turn, name, &n.name, *new);
        }
        happened(turn, name, &news);
        turn.log(level, format!("rx Management::Agent::API::{verb} {name} {text}"));
        turn.push(Action::Publish {
            topic: topics::NEWS.into(),
            event: Outgoing::News(Box::new(news)),
            to: Audience::Subscribers,
        });
    }

    /// Takes the answer of the agent of instance `name` in, if that agent was asked for it, under this id and by a
    /// request of this kind, and has not answered yet.
    pub(super) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        kind: RequestKind,
        name: &ZeekString,
        reqid: &ZeekString,
        results: Vec<ResultRecord>,
    ) {
        if kind == RequestKind::GetNodes && self.nodes_told(turn, name, reqid, &results) {
            return;
        }
        let waits = |fanout: &Fanout| fanout.awaits(reqid, name);
        let results = || {
            let checked = results
                .into_iter()
                .map(|result| checked(kind, name, reqid, result));
            checked.collect()
        };
        if kind == RequestKind::Deploy {
            if self.awaits_step(name, reqid) {
                let results: Vec<_> = results();
                return self.step_answered(turn, name, reqid, &results);
            }
            if let Some(deployment) = &mut self.deployment
                && let Some(fanout) = deployment.fanout()
                && waits(fanout)
            {
                let results: Vec<_> = results();
                let all_went_well = results.iter().all(|result| result.success);
                let answer = fanout.answer(reqid, name, results);
                if all_went_well {
                    let given = self.rollout.as_ref().and_then(|rollout| rollout.given(name));
                    self.members
                        .peers
                        .has_deployed(name, given.unwrap_or(&deployment.config));
                }
                if answer == Answer::Last {
                    self.deployed(turn);
                }
                return;
            }
        } else if let Some((key, ())) = self.awaiting(|key, fanout| {
            let is_of_kind = matches!(key, Key::Client(own, _) if *own == kind);
            (is_of_kind && waits(fanout)).then_some(())
        }) {
            self.take_answer(turn, key, reqid, name, results());
            return;
        }
        turn.debug(format!(
            "ignoring answer {reqid} of {name}: no request waits for it"
        ));
        turn.counters.increment(Counted::AnswersIgnored);
    }

    /// An agent is gone, or not asked by this cluster any more: its part of every request has failed, for this reason.
    ///
    /// DIFFERENCE(lost-agents): Zeek goes on waiting for agents that are gone, until the request times out.
    pub(super) fn fail_awaited(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reason: &str) {
        let error = format!("instance {name}: {reason}");
        let failure = |reqid: &ZeekString| {
            vec![ResultRecord {
                instance: Some(name.clone()),
                ..ResultRecord::failure(reqid.clone(), error.as_str())
            }]
        };
        if let Some(fanout) = self.deployment.as_mut().and_then(Deployment::fanout)
            && let Some(reqid) = fanout.asked_under(name)
            && fanout.answer(&reqid, name, failure(&reqid)) == Answer::Last
        {
            self.deployed(turn);
        }
        self.looks_no_more(turn, name);
        self.step_lost(turn, name, reason);
        self.told_lost(turn, name, reason);
        while let Some((key, reqid)) = self.awaiting(|_, fanout| fanout.asked_under(name)) {
            self.take_answer(turn, key, &reqid, name, failure(&reqid));
        }
    }

    /// The first request that waits for agents and has this, with what it has.
    fn awaiting<T>(&self, of: impl Fn(&Key, &Fanout) -> Option<T>) -> Option<(Key, T)> {
        self.requests.iter().find_map(|(key, pending)| match pending {
            Pending::Agents(fanout) => Some((key.clone(), of(key, fanout)?)),
            _ => None,
        })
    }

    fn take_answer(
        &mut self,
        turn: &mut Turn<'_>,
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

fn about(node: &ZeekString, msg: &ZeekString) -> String {
    let msg = msg.excerpt(MESSAGE_BYTES_MAX);
    if node.is_empty() {
        msg.to_string()
    } else {
        format!("{node}: {msg}")
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

/// Ignores a message that its sender may not send.
fn ignore(turn: &mut Turn<'_>, message: std::fmt::Arguments<'_>) {
    turn.warning(format!("ignoring {message}"));
    turn.counters.increment(Counted::AgentMessagesRefused);
}

/// Why a result's data is not what an answer of this kind holds.
fn unreadable(kind: RequestKind, data: &Data) -> Option<String> {
    match kind {
        RequestKind::GetNodes => from_data::<Vec<NodeStatus>>(data.clone()).err(),
        RequestKind::Deploy => from_data::<NodeOutputs>(data.clone()).err(),
        RequestKind::GetIdValue => from_data::<ZeekString>(data.clone()).err(),
        _ => None,
    }
    .map(|error| format!("agent answered with data that cannot be read: {error}"))
}

/// Tells those who follow events.
fn happened(turn: &mut Turn<'_>, instance: &ZeekString, news: &AgentMessage) {
    let (level, node, state, message) = match news {
        AgentMessage::Change { n, old, new, .. } => {
            let message = format!("node {} on instance {instance} is {new}, was {old}", n.name);
            let is_bad = matches!(new, State::Crashed | State::Failed | State::Unknown);
            let level = if is_bad { Level::Warning } else { Level::Info };
            (level, &n.name, Some(*new), message)
        }
        AgentMessage::Error { msg, node, .. } => {
            let message = format!("instance {instance}: {}", msg.excerpt(MESSAGE_BYTES_MAX));
            (Level::Warning, node, None, message)
        }
        AgentMessage::Log { msg, node, .. } if !news.is_farewell() => {
            let message = format!("instance {instance}: {}", msg.excerpt(MESSAGE_BYTES_MAX));
            (Level::Info, node, None, message)
        }
        _ => return,
    };
    let about = if node.is_empty() {
        About::Instance(instance)
    } else {
        About::Node {
            instance,
            node,
            state,
        }
    };
    turn.tell(level, about, message);
}
