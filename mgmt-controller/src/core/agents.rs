//! What agents say: that they are ready, how their part of a request went, and news.

use std::time::Duration;

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    AGENT_STOPPED, AgentMessage, AgentRequest, Dialect, MESSAGE_BYTES_MAX, RequestKind, ResultRecord, topics,
};

use super::{
    action::{Action, Audience, Level, Outgoing},
    controller::Controller,
    instances::target_of,
    membership::Hello,
    requests::{Key, Pending, listed, tell},
    turn::Turn,
};

/// A lost welcome is not repeated sooner, however short requests are.
const WELCOME_RETRY_MIN: Duration = Duration::from_millis(100);

impl Controller {
    /// A peer has said something in this dialect.
    pub(super) fn heard(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        topic: &ZeekString,
        message: &AgentMessage,
        dialect: Dialect,
    ) {
        let api = self.membership.api(peer);
        if let Some(again) = api.and_then(|api| api.heard(dialect, message)) {
            tell(turn, peer, topic.clone(), again);
        }
    }

    /// Takes an event of the agents' API in.
    pub(super) fn agent_message(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        topic: &ZeekString,
        message: AgentMessage,
    ) {
        let event = message.event_name();
        if !self.membership.is_connected(peer) {
            turn.warning(format!("ignoring {event} of {peer}, which is not connected"));
            self.counters.agent_messages_refused += 1;
            return;
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
            self.hello(turn, peer, topic, hello);
            return;
        }
        let Some(name) = self.membership.name_of(peer).cloned() else {
            turn.warning(format!(
                "ignoring {event} of {peer}, which speaks for no instance"
            ));
            self.counters.agent_messages_refused += 1;
            return;
        };
        if *topic != topics::agent(&self.settings.agent_topic_prefix, &name) {
            turn.warning(format!("ignoring {event} of {name} on topic {topic}"));
            self.counters.agent_messages_refused += 1;
            return;
        }
        match message {
            AgentMessage::Hello { .. } => {}
            AgentMessage::AgentWelcome { reqid, result } => {
                turn.info(format!("rx {event} {reqid}"));
                self.welcome_answered(turn, &name, &reqid, &result);
            }
            AgentMessage::AgentStandby { result, .. } => {
                turn.debug(format!("rx {event} from {name}"));
                if result.success {
                    self.stands_by(turn, &name);
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

    /// A dropped instance knows that it is dropped.
    fn stands_by(&mut self, turn: &mut Turn, name: &ZeekString) {
        let told = self.instances.dismissed.remove(name);
        if told.is_some() {
            turn.push(Action::Report {
                level: Level::Info,
                message: format!("instance {name} was told that it is dropped: its nodes end"),
            });
        }
        if let Some(target) = told.as_ref().and_then(target_of) {
            self.release(turn, target);
        }
    }

    /// Tells a known agent that it is part of the cluster, unless it has been told and has not answered.
    pub(super) fn welcome(&mut self, turn: &mut Turn, name: &ZeekString) {
        let Some(welcome) = self.membership.welcome_of(name) else {
            return;
        };
        if welcome.is_none() {
            let reqid = self.ids.next_id();
            *welcome = Some(reqid.clone());
            self.send_welcome(turn, name, reqid);
        }
    }

    /// Half of what a request may take is left when a lost welcome is repeated.
    fn send_welcome(&mut self, turn: &mut Turn, name: &ZeekString, reqid: ZeekString) {
        let key = Key::Welcome(reqid.clone());
        self.send(turn, name, AgentRequest::AgentWelcome { reqid });
        let deadline = turn.now + (self.settings.request_timeout / 2).max(WELCOME_RETRY_MIN);
        self.await_until(deadline, key, Pending::Welcome(name.clone()));
    }

    /// A welcome has not been answered in time.
    ///
    /// DIFFERENCE(repeated-welcome): a welcome is repeated, under the same id, until it is answered; agents that were
    /// welcomed are not welcomed once more before that. Zeek welcomes an agent at each hello, and only then (Q-10,
    ///
    pub(super) fn welcome_expired(&mut self, turn: &mut Turn, name: &ZeekString, reqid: ZeekString) {
        let wanted = self.instances.are_needed(name) && !self.instances.ready.contains(name);
        let Some(welcome) = self.membership.welcome_of(name) else {
            return;
        };
        if welcome.as_ref() != Some(&reqid) {
            return;
        }
        if wanted {
            self.counters.welcomes_repeated += 1;
            self.send_welcome(turn, name, reqid);
        } else {
            *welcome = None;
        }
    }

    fn welcome_answered(
        &mut self,
        turn: &mut Turn,
        name: &ZeekString,
        reqid: &ZeekString,
        result: &ResultRecord,
    ) {
        let Some(welcome) = self.membership.welcome_of(name) else {
            return;
        };
        let names_other = result.instance.as_ref().is_some_and(|instance| instance != name);
        if welcome.as_ref() != Some(reqid) || names_other {
            turn.debug(format!(
                "ignoring answer {reqid} of {name}: no request waits for it"
            ));
            self.counters.answers_ignored += 1;
            return;
        }
        *welcome = None;
        self.requests.remove(&Key::Welcome(reqid.clone()));
        if !result.success || !self.instances.are_needed(name) {
            let peer = self.membership.agent(name).map(|agent| agent.peer);
            self.stand_down(turn, name, peer);
            return;
        }
        self.instances.ready.insert(name.clone());
        turn.info(format!("instance {name} ready"));
        self.became_ready(turn, name);
    }

    /// Something happened at an agent.
    ///
    /// DIFFERENCE(news): Zeek's controller ignores `notify_change`, `notify_error` and `notify_log`. Here they are logged and
    /// passed on as they are, on a topic of their own: on the others clients get what Zeek sends, and nothing else.
    fn news(&mut self, turn: &mut Turn, name: &ZeekString, news: AgentMessage) {
        let (verb, instance, level, text) = match &news {
            AgentMessage::Change {
                instance,
                n,
                old,
                new,
            } => {
                self.counters.agent_changes += 1;
                let text = format!("{} {old} {new}", n.name);
                ("notify_change", instance, Level::Info, text)
            }
            AgentMessage::Error { instance, msg, node } => {
                self.counters.agent_errors += 1;
                ("notify_error", instance, Level::Error, about(node, msg))
            }
            AgentMessage::Log { instance, msg, node } => {
                self.counters.agent_logs += 1;
                ("notify_log", instance, Level::Info, about(node, msg))
            }
            _ => return,
        };
        if instance != name {
            turn.warning(format!("ignoring {verb} of {name} about instance {instance}"));
            self.counters.agent_messages_refused += 1;
            return;
        }
        if let AgentMessage::Log { msg, node, .. } = &news
            && node.is_empty()
            && msg.starts_with(AGENT_STOPPED.as_bytes())
        {
            self.membership
                .leaves(name, msg.excerpt(MESSAGE_BYTES_MAX).to_string());
        }
        turn.log(level, format!("rx Management::Agent::API::{verb} {name} {text}"));
        turn.push(Action::Publish {
            topic: topics::NEWS.into(),
            event: Outgoing::News(Box::new(news)),
            to: Audience::Subscribers,
        });
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
