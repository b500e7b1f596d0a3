use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use broker_codec::data::ZeekString;
use counters::Counters;
use mgmt_api::{
    API_VERSION, AgentMessage, Configuration, HostState, IdSource, NodeMessage, Now, OperatorRequest,
    Principal, RequestTable, ResultRecord, WallClock,
};

use super::{
    access,
    action::{Action, Turn},
    controllers::Controllers,
    deployment::Deployment,
    desired::Restoring,
    history::Histories,
    input::{Input, KeptController},
    lives::Lives,
    node_spec::Cluster,
    nodes::{OwnNode, Tally},
    pending::{Asker, Held, Key, Kind, Pending, Preparing, ToPrepare},
    program::Known,
    settings::Settings,
    starts::Starts,
    supervision::Command,
    trials::Trials,
};
use crate::Counted;

/// How many requests may be under way at a time. More are refused.
///
/// DIFFERENCE(request-limits): Zeek has none of these limits.
pub const REQUESTS_MAX: usize = 1024;

/// Why a Supervisor cannot be reached that has never been.
pub(super) const NEVER_CONNECTED: &str = "not connected to the Supervisor yet";

pub struct Agent {
    pub(super) settings: Settings,
    pub(super) ids: Box<dyn IdSource>,
    broker_id: ZeekString,
    pub(super) pid: i64,
    /// The time at the start.
    pub(super) clock: WallClock,
    /// What an operator should mend of the agent itself.
    pub(super) warnings: Vec<String>,
    /// Why the Supervisor cannot be reached, if it cannot.
    pub(super) unavailable: Option<String>,
    /// What the Supervisor has not answered in time, if it has said nothing since.
    pub(super) silence: Option<String>,
    /// What was last handed to the Supervisor.
    pub(super) config: Option<Configuration>,
    /// Its cluster, once for all nodes.
    pub(super) cluster: Arc<Cluster>,
    /// This instance's nodes of that configuration, by name.
    pub(super) nodes: BTreeMap<ZeekString, OwnNode>,
    /// Nodes of an earlier one that are to end under our own supervision, and have not.
    pub(super) leaving: BTreeMap<ZeekString, OwnNode>,
    /// What was heard of those under our own supervision.
    pub(super) lives: Lives,
    /// What is counted of each node, also while it is restarted or deployed anew.
    pub(super) tallies: BTreeMap<ZeekString, Tally>,
    /// What has become of each node, likewise.
    pub(super) histories: Histories,
    /// The starts that the Supervisor owes.
    pub(super) starts: Starts,
    /// Whether nodes are left that a Supervisor which could not be reached was to end.
    pub(super) stand_by_due: bool,
    /// The one that is under way; a new one takes its place.
    pub(super) deployment: Option<Deployment>,
    pub(super) requests: RequestTable<Key, Pending>,
    /// The commands that have not ended, by id.
    pub(super) commands: BTreeMap<ZeekString, Ordered>,
    /// The request that the present input is about.
    reqid: Option<ZeekString>,
    /// The `node_dispatch_request`s that nodes are working on: by the id that nodes know, the controller's id.
    pub(super) dispatches: BTreeMap<ZeekString, ZeekString>,
    /// What is known of the program that the Supervisor was started from.
    pub(super) program: Known,
    /// Which Zeek has taken its place since, and when, where the agent starts nodes itself.
    pub(super) upgrade: Option<(Now, String)>,
    /// Since when no controller is connected, if none is.
    pub(super) without_controller: Option<Now>,
    /// The controller that the agent keeps, while it is up.
    pub(super) controller: Option<KeptController>,
    pub(super) archival_due: Option<Now>,
    /// A controller's request to look whether nodes could run, which is under way.
    pub(super) preparing: Option<Preparing>,
    /// One of a deployment that waits meanwhile for a plan's to end.
    pub(super) next_to_prepare: Option<ToPrepare>,
    /// When the last one came that was answered.
    pub(super) prepared_at: Option<Now>,
    /// The nodes that do not run until they are started: an operator has stopped them, or they have done their work.
    pub(super) stopped: BTreeSet<ZeekString>,
    /// Those that have done their work. They have more to do when their configuration changes.
    pub(super) done: BTreeSet<ZeekString>,
    /// What is still to be done about nodes that an earlier agent has left.
    pub(super) restoring: Option<Restoring>,
    /// When what should run is to be written down again.
    pub(super) remember_due: Option<Now>,
    /// Whether that could not be written down the last time.
    pub(super) is_forgetful: bool,
    /// Why the agent's directory, which is gone, cannot be made again.
    pub(super) lost: Option<String>,
    /// The nodes that work in directories which are gone.
    pub(super) homeless: BTreeSet<ZeekString>,
    /// How often what should run was to be written down, and how often that has ended.
    pub(super) writes: u64,
    pub(super) written: u64,
    /// What operators hear when it is written down.
    pub(super) held: VecDeque<Held>,
    /// Whether the process is about to end, and nodes with it.
    pub(super) is_ending: bool,
    /// What was last told of nodes that are of different Zeeks.
    pub(super) told_mixed: Option<String>,
    /// Whether the configuration is on trial.
    pub(super) trials: Trials,
    /// The controllers that have said who they are.
    pub(super) controllers: Controllers,
    pub(super) counters: Counters<Counted>,
}

/// A command that has not ended.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) purpose: Purpose,
    /// The request of a controller that is behind it.
    reqid: Option<ZeekString>,
}

/// What a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A status, to start the [`Deployment`].
    Deploy,
    /// A status, to see what is left after the Supervisor was away.
    Recover,
    /// A status, to see what is left after the agent was away.
    Restore,
    /// A status, to say what a deployment would do.
    Plan,
    /// A status, to answer this request.
    GetNodes(ZeekString),
    Create(ZeekString),
    Relayout(ZeekString),
    /// To restart this node for this request.
    Restart {
        reqid: ZeekString,
        node: ZeekString,
    },
    Destroy(ZeekString),
    /// To end a node with the agent, or for an operator.
    End,
    /// To restart a node without a request.
    Renew,
}

impl Agent {
    /// An agent without nodes that has not heard of its Supervisor.
    pub fn new(settings: Settings, ids: Box<dyn IdSource>) -> Self {
        Self {
            settings,
            ids,
            broker_id: ZeekString::default(),
            pid: 0,
            clock: WallClock::default(),
            warnings: Vec::new(),
            unavailable: Some(NEVER_CONNECTED.into()),
            silence: None,
            config: None,
            cluster: Arc::default(),
            nodes: BTreeMap::new(),
            leaving: BTreeMap::new(),
            lives: Lives::default(),
            tallies: BTreeMap::new(),
            histories: Histories::default(),
            starts: Starts::default(),
            stand_by_due: false,
            deployment: None,
            requests: RequestTable::new(),
            commands: BTreeMap::new(),
            reqid: None,
            dispatches: BTreeMap::new(),
            program: Known::default(),
            upgrade: None,
            without_controller: Some(Now::START),
            controller: None,
            archival_due: None,
            preparing: None,
            next_to_prepare: None,
            prepared_at: None,
            stopped: BTreeSet::new(),
            done: BTreeSet::new(),
            restoring: None,
            remember_due: None,
            told_mixed: None,
            writes: 0,
            written: 0,
            held: VecDeque::new(),
            is_ending: false,
            is_forgetful: false,
            lost: None,
            homeless: BTreeSet::new(),
            trials: Trials::default(),
            controllers: Controllers::default(),
            counters: Counters::default(),
        }
    }

    /// Others count here, too.
    pub fn counters(&self) -> Counters<Counted> {
        self.counters.clone()
    }

    /// Takes one input in and returns what has to happen because of it, in this order. What is due at `now` happens before.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        let mut turn = Turn::new(now);
        self.reqid = input.about().map(|id| self.request_of(id).clone());
        self.do_due(&mut turn);
        match input {
            Input::Started {
                broker_id,
                pid,
                clock,
            } => {
                self.clock = WallClock::from_unix(clock) - now.since_start();
                self.started(&mut turn, broker_id, pid);
            }
            Input::PeerAdded { peer } => {
                turn.debug(format!("broker peer {peer} added"));
                self.say_hello(&mut turn);
            }
            Input::PeerLost { peer } => self.controller_lost(&mut turn, peer),
            Input::HasController(has_controller) => {
                self.without_controller = (!has_controller).then_some(now);
            }
            Input::Request {
                peer,
                topic,
                request,
                of_ours,
                principal,
            } => self.request(&mut turn, peer, &topic, request, of_ours, principal.as_deref()),
            Input::Link {
                peer,
                message,
                principal,
            } => self.link(&mut turn, peer, message, principal.as_deref()),
            Input::Operator {
                id,
                principal,
                request,
            } => self.operator_asks(&mut turn, id, &principal, &request),
            Input::Vitals { id } => {
                let vitals = Box::new(self.vitals(turn.now));
                turn.push(Action::Vitals { id, vitals });
            }
            Input::Host(state) => self.told_of_host(now, state),
            Input::Prepared(found) => self.prepared(&mut turn, found),
            Input::Node(NodeMessage::Hello { node }) => self.node_hello(&mut turn, &node),
            Input::Node(NodeMessage::NodeDispatch { reqid, result }) => {
                self.node_dispatched(&mut turn, &reqid, result);
            }
            Input::SignOfLife { node, sign } => self.sign_of_life(&mut turn, &node, sign),
            Input::NodeSilent { node, reason } => self.node_silent(&mut turn, &node, &reason),
            Input::Supervisor(report) => self.report(&mut turn, report),
            Input::Program(program) => self.program_seen(&mut turn, &program),
            Input::Controller(controller) => self.controller = controller,
            Input::Remembered(outcome) => self.remembered(&mut turn, outcome),
            Input::DirectoryFailed { path, reason } => {
                turn.warning(format!("could not create node state dir '{path}': {reason}"));
            }
            Input::DirectoryLost { directory, outcome } => {
                self.directory_lost(&mut turn, &directory, outcome);
            }
            Input::Homeless(nodes) => self.are_homeless(&mut turn, nodes),
            Input::Tick => {}
            Input::EndNodes => self.end_nodes(&mut turn),
            Input::Stopping { without_nodes } => self.stopping(&mut turn, without_nodes),
        }
        let actions = turn.into_actions().into_iter();
        actions.map(|action| action.about(self.reqid.as_ref())).collect()
    }

    /// Does what is due.
    fn do_due(&mut self, turn: &mut Turn) {
        self.tell_due_crashes(turn);
        self.tell_overdue(turn);
        self.expire(turn);
        if self.archival_due.is_some_and(|due| due <= turn.now) {
            self.archive(turn);
        }
        if self.remember_due.is_some_and(|due| due <= turn.now) {
            self.write_down(turn);
        }
        self.settle_controllers(turn);
        self.restore_due(turn);
    }

    /// Does what an operator asks, if that one may.
    fn operator_asks(&mut self, turn: &mut Turn, id: u64, principal: &Principal, request: &OperatorRequest) {
        match access::check(principal, request) {
            Ok(()) => self.serve(turn, Asker::Operator(id), &principal.to_string(), request),
            Err(refusal) => turn.push(Action::Answer {
                id,
                outcome: Err(refusal),
            }),
        }
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        let restore_due = match self.restoring {
            Some(Restoring::At(due)) => Some(due),
            _ => None,
        };
        let own = [
            self.archival_due,
            self.remember_due,
            restore_due,
            self.controllers.deadline(),
        ];
        own.into_iter()
            .chain([
                self.requests.deadline(),
                self.crash_deadline(),
                self.lives.deadline(),
            ])
            .flatten()
            .min()
    }

    fn started(&mut self, turn: &mut Turn, broker_id: ZeekString, pid: i64) {
        turn.info(format!("agent is live, Broker ID {broker_id}"));
        self.broker_id = broker_id;
        self.pid = pid;
        self.schedule_archival(turn.now);
    }

    fn told_of_host(&mut self, now: Now, state: HostState) {
        self.clock = state.wall_clock - now.since_start();
        self.warnings = state.warnings;
    }

    /// Tells controllers that the agent is there, each time that a peer connects: it may be a controller.
    ///
    /// DIFFERENCE(hello-without-supervisor): never while the Supervisor cannot be reached. Zeek's agent does once it
    /// has been connected to the Supervisor, even if it lost it.
    pub(super) fn say_hello(&self, turn: &mut Turn) {
        if self.unavailable.is_none() {
            turn.push(Action::Tell(AgentMessage::Hello {
                instance: self.settings.name.clone(),
                id: self.broker_id.clone(),
                connecting: self.settings.connecting,
                api_version: API_VERSION,
            }));
        }
    }

    /// Whether a request with this id is still to be answered.
    pub fn owes_answer(&self, reqid: &ZeekString) -> bool {
        let key = |kind| Key(kind, reqid.clone());
        Kind::ALL
            .into_iter()
            .any(|kind| self.requests.contains(&key(kind)))
    }

    /// Whether this is one of the configuration's nodes.
    pub(crate) fn has_node(&self, name: &ZeekString) -> bool {
        self.nodes.contains_key(name)
    }

    /// The id of the controller's request, where one of our own stands for it with the Supervisor or with nodes.
    pub(crate) fn request_of<'a>(&'a self, id: &'a ZeekString) -> &'a ZeekString {
        let ordered = self.commands.get(id).and_then(|ordered| ordered.reqid.as_ref());
        ordered.or_else(|| self.dispatches.get(id)).unwrap_or(id)
    }

    /// Has the Supervisor say which nodes there are.
    pub(super) fn ask_status(&mut self, turn: &mut Turn, purpose: Purpose) -> ZeekString {
        let id = self.ids.next_id();
        self.order(turn, purpose, Command::Status { id: id.clone() });
        id
    }

    /// Has the Supervisor do something.
    pub(super) fn order(&mut self, turn: &mut Turn, purpose: Purpose, command: Command) {
        let reqid = self.reqid.clone();
        self.commands
            .insert(command.id().clone(), Ordered { purpose, reqid });
        turn.push(Action::Supervise(command));
    }

    /// Has the Supervisor end a node and forget it.
    pub(super) fn destroy(&mut self, turn: &mut Turn, purpose: Purpose, node: &ZeekString) {
        let (id, node) = (self.ids.next_id(), node.clone());
        self.order(turn, purpose, Command::Destroy { id, node });
    }

    /// What a command was for, which has ended.
    pub(super) fn ended(&mut self, id: &ZeekString) -> Option<Purpose> {
        self.commands.remove(id).map(|ordered| ordered.purpose)
    }

    /// Logs an error and tells controllers; about a node, if one is named.
    pub(super) fn raise(&self, turn: &mut Turn, message: String, node: impl Into<ZeekString>) {
        turn.error(message.clone());
        self.tell_error(turn, message, node.into());
    }

    /// Tells controllers what has gone wrong; about a node, if one is named.
    pub(super) fn tell_error(&self, turn: &mut Turn, message: String, node: ZeekString) {
        turn.push(Action::Tell(AgentMessage::Error {
            instance: self.settings.name.clone(),
            msg: message.into(),
            node,
        }));
    }

    /// A success of this instance's.
    pub(super) fn success(&self, reqid: ZeekString) -> ResultRecord {
        ResultRecord {
            instance: Some(self.settings.name.clone()),
            ..ResultRecord::success(reqid)
        }
    }

    /// A failure of this instance's.
    pub(super) fn failure(&self, reqid: ZeekString, error: impl Into<ZeekString>) -> ResultRecord {
        ResultRecord {
            instance: Some(self.settings.name.clone()),
            ..ResultRecord::failure(reqid, error)
        }
    }
}
