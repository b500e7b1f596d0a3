//! Requests of controllers on their way: taken on, kept, answered, given up.

use std::{sync::Arc, time::Duration};

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    AgentMessage, AgentRequest, Level, Principal, ResultRecord, TIMED_OUT,
    log::{bracketed, listed},
};

use super::{
    access,
    action::{Action, Turn},
    agent::{Agent, REQUESTS_MAX},
    deploy::report,
    pending::{Key, Kind, Logged, Pending},
};

impl Agent {
    /// Carries out what a controller asks for.
    pub(super) fn request(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        topic: &ZeekString,
        request: AgentRequest,
        of_ours: bool,
        principal: Option<&Principal>,
    ) {
        let event = request.event_name();
        // DIFFERENCE(agent-topic): Zeek's agent `a` also does what agent `ab` is asked to do.
        if *topic != self.settings.agent_topic() {
            turn.debug(format!("ignoring {event} {} for {topic}", request.reqid()));
            return;
        }
        if let Err(refusal) = access::check_controller(principal) {
            return self.forbid(turn, peer, &request, refusal.reason);
        }
        if !self.admit(turn, &request) {
            return;
        }
        if changes_something(&request)
            && let Some(reason) = self.refusal(turn, peer)
        {
            return self.refuse(turn, &request, &reason);
        }
        match request {
            AgentRequest::Deploy { reqid, config, force } => {
                self.deploy(turn, reqid, Arc::unwrap_or_clone(config), force, of_ours);
            }
            AgentRequest::GetNodes { reqid } => self.get_nodes(turn, reqid),
            AgentRequest::NodeDispatch { reqid, action, nodes } => {
                self.node_dispatch(turn, reqid, action, nodes);
            }
            AgentRequest::AgentWelcome { reqid } => {
                let result = self.success(reqid.clone());
                confirm(turn, AgentMessage::AgentWelcome { reqid, result });
            }
            AgentRequest::AgentStandby { reqid } => {
                let result = self.stand_by_result(reqid.clone());
                confirm(turn, AgentMessage::AgentStandby { reqid, result });
                self.stand_by(turn);
            }
            AgentRequest::Restart { reqid, nodes } => self.restart(turn, reqid, &nodes),
        }
    }

    /// Refuses what a controller may not. The answer is for it alone: another one may have asked under the same id, and may.
    fn forbid(&self, turn: &mut Turn, peer: EndpointId, request: &AgentRequest, reason: ZeekString) {
        let (event, reqid) = (request.event_name(), request.reqid().clone());
        turn.warning(format!("refusing {event} {reqid}: {reason}"));
        let result = self.failure(reqid.clone(), reason);
        let message = match (Kind::of(request), request) {
            (Some(kind), _) => kind.response(reqid, vec![result]),
            (None, AgentRequest::AgentStandby { .. }) => AgentMessage::AgentStandby { reqid, result },
            (None, _) => AgentMessage::AgentWelcome { reqid, result },
        };
        turn.push(Action::TellOne { peer, message });
    }

    /// Answers a controller that is not obeyed.
    fn refuse(&self, turn: &mut Turn, request: &AgentRequest, reason: &str) {
        let reqid = request.reqid().clone();
        report(
            turn,
            Level::Warning,
            format!("{} {reqid} refused: {reason}", request.event_name()),
        );
        let result = self.failure(reqid.clone(), reason);
        match Kind::of(request) {
            Some(Kind::Restart) => {
                let result = ResultRecord {
                    instance: None,
                    ..result
                };
                Self::respond(turn, Kind::Restart, reqid, vec![result], Logged::Results);
            }
            Some(kind) => Self::respond(turn, kind, reqid, vec![result], Logged::Results),
            None => confirm(turn, AgentMessage::AgentStandby { reqid, result }),
        }
    }

    /// Logs a request and says whether to carry it out. If not, it has been answered, or will be.
    fn admit(&self, turn: &mut Turn, request: &AgentRequest) -> bool {
        let event = request.event_name();
        let reqid = request.reqid();
        log_received(turn, request);
        let Some(kind) = Kind::of(request) else {
            return true;
        };
        let key = Key(kind, reqid.clone());
        let Err(reason) = self.requests.admit(&key, REQUESTS_MAX) else {
            return true;
        };
        turn.warning(reason.line(&format!("{event} {reqid}")));
        if let Some(error) = reason.answer() {
            let results = vec![self.failure(reqid.clone(), error)];
            Self::respond(turn, kind, reqid.clone(), results, Logged::Results);
        }
        false
    }

    /// Answers the requests whose time is up.
    ///
    /// DIFFERENCE(request-timeout): that is after exactly the time that is set, and later for deployments. Zeek's agent takes 4 to 7
    /// seconds of 5.
    pub(super) fn expire(&mut self, turn: &mut Turn) {
        while let Some((Key(kind, reqid), pending)) = self.requests.pop_expired(turn.now) {
            turn.push(Action::about_request(
                &reqid,
                format!("request {reqid} timed out"),
            ));
            match pending {
                Pending::Deployment => self.deployment_timed_out(turn, reqid),
                Pending::Status => self.respond_without_status(turn, reqid, TIMED_OUT),
                // DIFFERENCE(dispatch-timeout): Zeek's agent does not answer.
                Pending::Dispatch {
                    id,
                    awaited,
                    mut results,
                } => {
                    self.dispatches.remove(&id);
                    results.extend(awaited.into_iter().map(|node| ResultRecord {
                        node: Some(node),
                        ..self.failure(reqid.clone(), TIMED_OUT)
                    }));
                    Self::respond(turn, kind, reqid, results, Logged::Pending);
                }
                Pending::Restart { awaited, mut results } => {
                    let late = awaited.into_values();
                    results.extend(late.map(|node| restart_failure(&reqid, node, TIMED_OUT)));
                    Self::respond(turn, kind, reqid, results, Logged::Pending);
                }
            }
        }
    }

    /// Keeps a request until it is answered or its time is up.
    pub(super) fn await_answer(
        &mut self,
        turn: &Turn,
        kind: Kind,
        reqid: ZeekString,
        timeout: Duration,
        pending: Pending,
    ) {
        let deadline = turn.now + timeout;
        let inserted = self.requests.insert(Key(kind, reqid), deadline, pending);
        debug_assert!(inserted.is_ok(), "a live request is never asked for again");
    }

    /// Ends a request that is about to be answered. Returns whether it was waiting for that.
    pub(super) fn end(&mut self, kind: Kind, reqid: &ZeekString) -> bool {
        self.requests.remove(&Key(kind, reqid.clone())).is_some()
    }

    /// Answers a request. The caller sees to it that it happens once.
    pub(super) fn respond(
        turn: &mut Turn,
        kind: Kind,
        reqid: ZeekString,
        results: Vec<ResultRecord>,
        logged: Logged,
    ) {
        let results_text = listed(&results);
        let text = match logged {
            Logged::Results => results_text,
            Logged::Pending => format!("[request {reqid} pending, results: {results_text}]"),
            Logged::Id(why) => format!("{reqid}, {why}"),
        };
        let about = reqid.clone();
        let message = kind.response(reqid, results);
        turn.push(Action::about_request(
            &about,
            format!("tx {} {text}", message.event_name()),
        ));
        turn.push(Action::Tell(message));
    }
}

/// Whether nodes run otherwise after a request than before.
const fn changes_something(request: &AgentRequest) -> bool {
    matches!(
        request,
        AgentRequest::Deploy { .. } | AgentRequest::Restart { .. } | AgentRequest::AgentStandby { .. }
    )
}

/// A node that is not restarted.
///
/// DIFFERENCE(failed-restarts): without the instance, as the controller passes it on. If it names one, zeek-client prints `false`, no
/// reason, and ends with 0.
pub(super) fn restart_failure(
    reqid: &ZeekString,
    node: ZeekString,
    error: impl Into<ZeekString>,
) -> ResultRecord {
    ResultRecord {
        node: Some(node),
        ..ResultRecord::failure(reqid.clone(), error)
    }
}

/// Answers a request that takes no time.
fn confirm(turn: &mut Turn, message: AgentMessage) {
    if let AgentMessage::AgentWelcome { result, .. } | AgentMessage::AgentStandby { result, .. } = &message {
        turn.info(format!("tx {} {result}", message.event_name()));
    }
    turn.push(Action::Tell(message));
}

fn log_received(turn: &mut Turn, request: &AgentRequest) {
    let event = request.event_name();
    turn.info(match request {
        AgentRequest::Deploy { reqid, config, .. } => format!("rx {event} {reqid} {}", config.id),
        AgentRequest::NodeDispatch { reqid, action, nodes } => {
            format!("rx {event} {reqid} {} {}", bracketed(action), bracketed(nodes))
        }
        AgentRequest::Restart { reqid, nodes } => format!("rx {event} {reqid} {}", bracketed(nodes)),
        _ => format!("rx {event} {}", request.reqid()),
    });
}
