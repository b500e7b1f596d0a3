//! A deployment: gather the instances, accept the configuration, act on it, collect what comes of it.
//!
//! Before a client's deployment is accepted, nothing changes: instances are connected to and welcomed, which has no effect on them. It is
//! accepted when all are there; then it is stored, instances that it lacks are stood down, and the others get it. A frozen agent that was
//! welcomed earlier cannot be told from one that lives. Agents of ours look first whether they could run it; if one could not, that is the
//! answer, and everything is as it was.

use std::{collections::BTreeSet, sync::Arc};

use broker_codec::data::ZeekString;
use mgmt_api::{
    CLUSTER_BACKEND, Configuration, Now, ResultRecord, TIMED_OUT, backend::BROKER, operator::Progress,
};

use super::{
    absence::named,
    fanout::Fanout,
    membership::Membership,
    pending::Key,
    settings::{AbsentInstances, Settings},
    turn::Turn,
};

/// How long a deployment may take in all, in fifths of the request time-out: with Zeek's defaults 18 seconds, of the 20
/// that zeek-client waits. Our agents answer after 15.
pub const DEPLOYMENT_FIFTHS: u32 = 9;

/// How long absent instances are waited for if the deployment goes on without them, in fifths of the request time-out: with Zeek's
/// defaults 2 seconds, in which an agent connects that can.
const SKIP_FIFTHS: u32 = 1;

/// When agents are not waited for any more that look whether they could run a configuration, at the latest: so long after the request,
/// in fifths of the request time-out. With Zeek's defaults 12 seconds, so that 6 are left to deploy in.
const PREPARED_FIFTHS: u32 = 6;

/// A deployment that is under way.
#[derive(Debug)]
pub(super) struct Deployment {
    /// The request that it carries out. It may time out, and be answered, before the deployment ends.
    pub(super) key: Key,
    pub(super) config: Arc<Configuration>,
    started: Now,
    phase: Phase,
    /// Whether it has to be accepted: it is a client's, and what the controller does by itself was accepted earlier.
    is_new: bool,
    /// Whether agents were asked whether they could run it.
    is_prepared: bool,
    /// By what its nodes would talk, as agents say that have looked.
    pub(super) backends: BTreeSet<ZeekString>,
    /// The number of its revision, when that is the deployed one.
    pub(super) revision: Option<u32>,
    /// Whether agents have become ready too late to be asked: then everything is deployed once more.
    pub(super) again: bool,
}

#[derive(Debug)]
enum Phase {
    /// Waits until the instances of its configuration are there.
    Gathering,
    /// They are there. Waits for the agents that look whether they could run it.
    Preparing(Fanout),
    /// The controller's own: waits until the instances of the cluster are ready.
    Waiting,
    /// They are. Its configuration is being stored as the deployed one.
    Storing,
    /// It is stored, and its instances are those of the cluster. Waits until all that are connected are ready.
    Accepted,
    /// Waits for the agents, which have got the configuration.
    Deploying(Fanout),
}

/// What a deployment wants done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All of its instances are there, or the others are not waited for: the configuration is to be stored and handed out.
    HandOut,
    /// The instances that are ready are to be asked.
    Ask,
    /// Some of its instances refuse this controller: it is to fail without waiting for the others.
    Fail,
}

/// By what the nodes of a configuration talk that does not say so, if those that are deployed talk by something. What suits one host does not suit
/// several.
pub(super) fn backend_ahead<'a>(
    config: &Configuration,
    deployed: Option<&'a Configuration>,
) -> Option<&'a ZeekString> {
    let is_alike = |deployed: &&Configuration| deployed.is_on_one_host() == config.is_on_one_host();
    let said = deployed.filter(is_alike).and_then(Configuration::cluster_backend);
    said.filter(|_| config.cluster_backend().is_none())
}

/// By what the nodes of agents talk that have said these: where Zeeks differ, by what all can.
pub(super) fn common_backend(backends: BTreeSet<ZeekString>) -> Option<ZeekString> {
    let mut backends = backends.into_iter();
    match (backends.next(), backends.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => Some(BROKER.into()),
        (None, _) => None,
    }
}

/// What becomes of a deployment when the end of its write is known.
#[derive(Debug)]
pub(super) enum Stored {
    GoesOn {
        /// Whether it is accepted by that.
        is_accepted: bool,
    },
    /// It could not be stored, and nothing is changed.
    Refused(String),
}

/// What becomes of a deployment when the time of its request is up.
#[derive(Debug)]
pub(super) enum Expired {
    /// It has until then.
    GoesOn(Now, Option<Next>),
    /// The request fails with these results.
    Fails(Vec<ResultRecord>, Fate),
}

/// What becomes of a deployment whose request has failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Nothing is changed.
    NotAccepted,
    Ended,
    /// It goes on: it may be durable already.
    GoesOn,
    /// It goes on with the instances that are ready.
    Ask,
}

impl Deployment {
    pub(super) const fn new(key: Key, config: Arc<Configuration>, started: Now, is_new: bool) -> Self {
        let phase = if is_new { Phase::Gathering } else { Phase::Waiting };
        Self {
            key,
            config,
            started,
            phase,
            is_new,
            is_prepared: false,
            backends: BTreeSet::new(),
            revision: None,
            again: false,
        }
    }

    /// How long the instances of a client's deployment are waited for.
    pub(super) fn gathered_by(now: Now, settings: &Settings) -> Now {
        match settings.absent_instances {
            AbsentInstances::Fail => now + settings.request_timeout,
            AbsentInstances::Skip => now + settings.fifths(SKIP_FIFTHS),
        }
    }

    /// When it has ended, at the latest.
    pub(super) fn ends(&self, settings: &Settings) -> Now {
        self.started + settings.fifths(DEPLOYMENT_FIFTHS)
    }

    /// Why another one cannot begin.
    pub(super) fn still_pending(&self, turn: &Turn<'_>, members: &Membership, settings: &Settings) -> String {
        let reason = match &self.phase {
            Phase::Gathering => format!("it waits for {}", named(&members.missing())),
            Phase::Waiting | Phase::Accepted => {
                format!("it waits for {}", named(members.instances.wanted_missing()))
            }
            Phase::Preparing(fanout) => format!(
                "it waits for {} to say whether nodes can run",
                named(fanout.silent())
            ),
            Phase::Storing => "its configuration is being stored".into(),
            Phase::Deploying(fanout) => format!("it waits for the answer of {}", named(fanout.silent())),
        };
        format!(
            "earlier deployment {} still pending since {}: {reason}; it ends at {} at the latest",
            self.key.reqid(),
            turn.told(self.started),
            turn.told(self.ends(settings))
        )
    }

    /// The instances that it waits to see.
    pub(super) fn missing(&self, members: &Membership) -> Vec<ZeekString> {
        if self.is_new {
            return members.missing();
        }
        members.instances.wanted_missing().cloned().collect()
    }

    /// How far it is on an instance, as far as that has not answered.
    pub(super) fn progress_of(&self, name: &ZeekString, is_missing: bool) -> Progress {
        let is_asked = |fanout: &Fanout| fanout.silent().any(|asked| asked == name);
        match &self.phase {
            Phase::Preparing(fanout) if is_asked(fanout) => Progress::Checking,
            Phase::Deploying(fanout) if is_asked(fanout) => Progress::Starting,
            _ if is_missing => Progress::Waiting,
            Phase::Deploying(_) => Progress::Up,
            _ => Progress::Ready,
        }
    }

    /// What instances have answered.
    pub(super) fn results(&self) -> &[ResultRecord] {
        match &self.phase {
            Phase::Preparing(fanout) | Phase::Deploying(fanout) => fanout.results(),
            _ => &[],
        }
    }

    /// What is to be done as instances may have become ready, or gone.
    pub(super) fn next(&self, now: Now, members: &Membership, settings: &Settings) -> Option<Next> {
        match &self.phase {
            Phase::Gathering if members.missing().is_empty() || self.can_skip(now, members, settings) => {
                Some(Next::HandOut)
            }
            Phase::Gathering
                if settings.absent_instances == AbsentInstances::Fail && !members.refusing().is_empty() =>
            {
                Some(Next::Fail)
            }
            Phase::Accepted if members.connected_are_ready() => Some(Next::Ask),
            _ => None,
        }
    }

    /// Whether the time is up in which absent instances are waited for, and others are there.
    fn can_skip(&self, now: Now, members: &Membership, settings: &Settings) -> bool {
        settings.absent_instances == AbsentInstances::Skip
            && now >= self.started + settings.fifths(SKIP_FIFTHS)
            && members.missing_are_absent()
            && members.some_are_there()
    }

    /// Instances have become ready. Of its own that is said when all of them are gathered.
    pub(super) fn became_ready(&mut self) -> Option<Next> {
        self.again |= !matches!(self.phase, Phase::Waiting);
        matches!(self.phase, Phase::Waiting).then_some(Next::HandOut)
    }

    pub(super) const fn is_gathering(&self) -> bool {
        matches!(self.phase, Phase::Gathering | Phase::Preparing(_))
    }

    /// Whether agents are to be asked first whether they could run it: once, and if it is new.
    pub(super) const fn is_to_be_prepared(&self) -> bool {
        self.is_new && !self.is_prepared
    }

    /// Fills in what agents need to know to look: the hosts, and by what the nodes talk.
    pub(super) fn look_ahead(&mut self, members: &Membership, deployed: Option<&Configuration>) {
        self.fill_in_hosts(members);
        if let Some(backend) = backend_ahead(&self.config, deployed) {
            Arc::make_mut(&mut self.config).set_cluster_backend(backend);
        }
    }

    /// Writes into the configuration by what its nodes talk, if it does not say.
    ///
    /// DIFFERENCE(backend-written): Zeek's controller adds nothing to the options of a node.
    ///
    /// Only another value there changes it from then on: Zeek's own default differs from release to release, and nodes that were started
    /// before and after an upgrade must meet.
    pub(super) fn choose_backend(&mut self, turn: &mut Turn<'_>) {
        let Some(chosen) = common_backend(std::mem::take(&mut self.backends)) else {
            return;
        };
        if self.config.cluster_backend().is_none()
            && Arc::make_mut(&mut self.config).set_cluster_backend(&chosen)
        {
            turn.info(format!(
                "configuration {}: its nodes talk by {chosen}, as the manager's option {CLUSTER_BACKEND} says from now on",
                self.config.id
            ));
        }
    }

    /// Agents look whether they could run it. Returns how long they are waited for.
    pub(super) fn prepares(&mut self, fanout: Fanout, now: Now, settings: &Settings) -> Now {
        self.is_prepared = true;
        self.phase = Phase::Preparing(fanout);
        let latest = self.started + settings.fifths(PREPARED_FIFTHS);
        latest.min(now + settings.request_timeout / 2)
    }

    /// Whom it waits for, if agents look whether they could run it.
    pub(super) const fn preparing(&mut self) -> Option<&mut Fanout> {
        match &mut self.phase {
            Phase::Preparing(fanout) => Some(fanout),
            _ => None,
        }
    }

    /// They are not waited for any more: instances may have gone meanwhile. Returns how long these are waited for then.
    pub(super) fn prepared(&mut self, now: Now, settings: &Settings) -> Now {
        self.phase = Phase::Gathering;
        Self::gathered_by(self.started, settings).max(now + settings.fifths(SKIP_FIFTHS))
    }

    /// DIFFERENCE(late-hosts): hosts that were not known when the configuration was staged are filled in before agents see it. Zeek
    /// leaves them open.
    fn fill_in_hosts(&mut self, members: &Membership) {
        let instances = members.with_observed_hosts(self.config.instances.clone());
        if instances != self.config.instances {
            Arc::make_mut(&mut self.config).instances = instances;
        }
    }

    /// Its configuration is to be stored.
    pub(super) fn hand_out(&mut self, members: &Membership) {
        self.fill_in_hosts(members);
        self.phase = Phase::Storing;
    }

    /// Whether it has to be accepted yet.
    pub(super) const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Its configuration is the deployed one now, or cannot be stored.
    pub(super) fn stored(
        &mut self,
        outcome: Result<(), String>,
        deployed: Option<&Arc<Configuration>>,
    ) -> Stored {
        match (outcome, deployed) {
            (Err(error), _) if self.is_new => return Stored::Refused(error),
            // Only hosts were filled in. What is stored is good enough.
            (Err(_), Some(deployed)) => self.config = Arc::clone(deployed),
            _ => {}
        }
        let is_accepted = std::mem::take(&mut self.is_new);
        Stored::GoesOn { is_accepted }
    }

    /// Its instances are those of the cluster.
    pub(super) fn accepted(&mut self) {
        self.phase = Phase::Accepted;
    }

    /// The client has its answer, and it goes on as the controller's own.
    pub(super) fn goes_on_as(&mut self, key: Key, now: Now) {
        self.key = key;
        self.started = now;
    }

    /// The instances that are ready were asked. Returns whether there are none.
    pub(super) fn asked(&mut self, fanout: Fanout) -> bool {
        let none_asked = fanout.silent().next().is_none();
        self.phase = Phase::Deploying(fanout);
        self.again = false;
        none_asked
    }

    /// Whom it waits for, if it does.
    pub(super) fn fanout(&mut self) -> Option<&mut Fanout> {
        match &mut self.phase {
            Phase::Deploying(fanout) => Some(fanout),
            _ => None,
        }
    }

    /// The time of its request is up.
    pub(super) fn expired(&mut self, turn: &Turn<'_>, members: &Membership, settings: &Settings) -> Expired {
        let reqid = self.key.reqid();
        match &mut self.phase {
            Phase::Gathering | Phase::Preparing(_) => {
                // Agents that are connected are given the whole time to answer their welcome, which those of 4.1 take long for.
                let gathered_by = self.started + settings.request_timeout;
                if settings.absent_instances == AbsentInstances::Skip {
                    if turn.now < gathered_by && !members.missing_are_absent() {
                        return Expired::GoesOn(gathered_by, None);
                    }
                    if members.some_are_there() {
                        return Expired::GoesOn(self.ends(settings), Some(Next::HandOut));
                    }
                }
                Expired::Fails(
                    members.not_gathered(turn, reqid, members.missing()),
                    Fate::NotAccepted,
                )
            }
            Phase::Waiting => Expired::Fails(members.not_deployed(turn, reqid, &self.config), Fate::Ended),
            Phase::Storing => Expired::Fails(
                vec![ResultRecord::failure(reqid.clone(), TIMED_OUT)],
                Fate::GoesOn,
            ),
            Phase::Accepted => Expired::Fails(members.not_deployed(turn, reqid, &self.config), Fate::Ask),
            Phase::Deploying(fanout) => Expired::Fails(std::mem::take(fanout).timed_out(reqid), Fate::Ended),
        }
    }
}
