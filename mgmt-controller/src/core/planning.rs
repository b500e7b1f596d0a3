//! What a deployment would do, and a deployment of just that. Nothing is stored or changed for a plan.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{Address, ZeekString};
use mgmt_api::{
    ClientRequest, Configuration, Level, MESSAGE_BYTES_MAX, Principal,
    link::{Prepared, from_json},
    operator::{
        ConfigurationFile, NewDeployment, NotDone, NotDoneKind, check_note,
        plan::{Heard, Nodes, Plan, make, since},
        written,
    },
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    asking::{Answered, Asking, Deploys, Planning, Told, Wanted},
    cluster::Cluster,
    configuring::invalid,
    deployment::{backend_ahead, common_backend},
    fanout::Fanout,
    operators::answer,
    plans::PLANS_MAX,
    turn::{About, Turn},
    validate::validate,
};

/// How many bytes of the hash are the id of a plan.
const ID_BYTES: usize = 8;

/// Why all nodes of an instance restart.
const OF_ZEEK: &str = "its agent is Zeek's, or its nodes are kept by a Supervisor of Zeek's: it starts all nodes anew at each deployment";
const OLDER: &str = "its agent is older than this controller, and does not say which nodes it would restart";

impl Cluster {
    /// Asks agents what they would do. The plan is made when they have answered.
    pub(super) fn ask_for_plan(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        given: ConfigurationFile,
        deploys: Option<Deploys>,
    ) -> Result<Asking, NotDone> {
        self.none_under_way(turn)?;
        let config = self.as_handed_out(turn, given.clone())?;
        let deployed = self.configurations.deployed.as_deref();
        let mut fanout = Fanout::default();
        for (reqid, name) in self.members.ask_to_look(turn, &config, deployed, true) {
            fanout.ask(reqid, name);
        }
        let asked: BTreeSet<&ZeekString> = fanout.silent().collect();
        let names = config.instances.iter().map(|instance| &instance.name);
        let known =
            names.filter_map(|name| Some((name.clone(), self.known_of(turn, name, asked.contains(name))?)));
        let heard = known.collect();
        let planning = Box::new(Planning {
            given,
            config,
            heard,
            deploys,
        });
        Ok(Asking {
            id: Some(id),
            wanted: Wanted::Plan(planning),
            fanout,
        })
    }

    /// The configuration as agents would get it.
    fn as_handed_out(&self, turn: &Turn<'_>, given: ConfigurationFile) -> Result<Configuration, NotDone> {
        let config = given.into_configuration(ZeekString::default());
        let mut errors = validate(&config, &self.settings);
        errors.extend(self.taken_elsewhere(turn, &config));
        if !errors.is_empty() {
            return Err(invalid(&errors));
        }
        let config = self.completed(&config);
        let mut config = config.map_err(|error| invalid(&[error.to_string().into()]))?;
        let deployed = self.configurations.deployed.as_deref();
        // One that is away is taken to come back where it was.
        let hosts = deployed.iter().flat_map(|deployed| &deployed.instances);
        let hosts: BTreeMap<&ZeekString, Address> =
            hosts.map(|instance| (&instance.name, instance.host)).collect();
        let instances = std::mem::take(&mut config.instances).into_iter();
        let placed = instances.map(|mut instance| {
            if let (Address::UNSPECIFIED_V4, Some(host)) = (instance.host, hosts.get(&instance.name)) {
                instance.host = *host;
            }
            instance
        });
        config.instances = placed.collect();
        if let Some(backend) = backend_ahead(&config, deployed) {
            config.set_cluster_backend(backend);
        }
        Ok(config)
    }

    /// What is known of an instance's nodes without its agent's answer; none if the answer tells.
    fn known_of(&self, turn: &Turn<'_>, name: &ZeekString, is_asked: bool) -> Option<Nodes> {
        let unknown = |reason| Some(Nodes::Unknown(reason));
        let Some(agent) = self.members.peers.agent(name) else {
            return unknown(self.members.absence(turn, name));
        };
        if let Some(refusal) = self.members.refusal(turn, name) {
            return unknown(refusal);
        }
        if let Some(reason) = self.not_announced(name) {
            return unknown(reason);
        }
        let features = self.members.peers.features_of(agent.peer);
        match (is_asked, features.prepares, features.launches) {
            (true, _, _) if features.plans => None,
            (_, true, true) => Some(Nodes::AllRestart(OLDER.to_owned())),
            (false, true, _) => unknown(self.members.absence(turn, name)),
            _ => Some(Nodes::AllRestart(OF_ZEEK.to_owned())),
        }
    }

    /// Agents have answered, or are not waited for any more.
    pub(super) fn planned(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        planning: Planning,
        told: Vec<(ZeekString, Told)>,
    ) {
        let Planning {
            given,
            mut config,
            heard,
            deploys,
        } = planning;
        let (heard, backends) = all_heard(heard, told);
        if let Some(backend) = common_backend(backends).filter(|_| config.cluster_backend().is_none()) {
            config.set_cluster_backend(&backend);
        }
        let mut plan = make(self.configurations.deployed.as_deref(), &config, &heard);
        plan.id = match hash(self.name().as_str(), &plan, &config) {
            Ok(id) => id,
            Err(refusal) => return answer(turn, id, Err(refusal)),
        };
        let Some(deploys) = deploys else {
            answer(turn, id, written(&plan));
            self.plans.remember(plan, given);
            return;
        };
        match self.still_planned(turn, &deploys.plan, &plan) {
            Ok(()) => self.deploy_planned(turn, id, deploys, &plan, given),
            Err(refusal) => answer(turn, id, Err(refusal)),
        }
    }

    /// Makes a plan anew that is to be deployed.
    pub(super) fn ask_to_deploy_plan(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        NewDeployment { plan, note }: NewDeployment,
    ) -> Result<Asking, NotDone> {
        let plan = plan.unwrap_or_default();
        note.as_deref().map_or(Ok(()), check_note)?;
        let Some(made) = self.plans.get(&plan) else {
            let reason = format!(
                "plan {} is not known: the controller remembers the last {PLANS_MAX} since it was started; make it again",
                ZeekString::from(plan.as_str()).excerpt(MESSAGE_BYTES_MAX)
            );
            return Err(NotDone::new(NotDoneKind::NotAsExpected, reason));
        };
        let given = made.given.clone();
        let principal = principal.clone();
        let deploys = Deploys {
            principal,
            plan,
            note,
        };
        self.ask_for_plan(turn, id, given, Some(deploys))
    }

    /// Whether a deployment would do what a plan says.
    fn still_planned(&self, turn: &Turn<'_>, wanted: &str, now: &Plan) -> Result<(), NotDone> {
        self.none_under_way(turn)?;
        if now.id == wanted {
            return Ok(());
        }
        let mut errors = match self.plans.get(wanted) {
            Some(made) => since(&made.plan, now),
            None => Vec::new(),
        };
        let deployed = now.deployed.as_deref();
        if let Some(asked_by) = deployed.and_then(|deployed| self.deployments.asker_of(deployed))
            && let Some(first) = errors.first_mut()
            && first.contains("is deployed now")
        {
            *first = format!("{first}: {asked_by} has deployed it");
        }
        let reason = format!("plan {wanted} is not what a deployment would do now; make it again");
        Err(NotDone {
            errors,
            ..NotDone::new(NotDoneKind::NotAsExpected, reason)
        })
    }

    /// Stages the configuration of a plan, to be deployed when it is stored.
    fn deploy_planned(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        Deploys { principal, note, .. }: Deploys,
        plan: &Plan,
        given: ConfigurationFile,
    ) {
        let deployed = self.configurations.deployed.as_ref().map(|config| &config.id);
        // Under the id of what is deployed, agents only see to it that it runs.
        let same = deployed.filter(|_| !plan.has_changes).cloned();
        let config = given.into_configuration(same.unwrap_or_else(|| turn.ids.next_id()));
        let message = format!(
            "deploys configuration {}, as plan {} says and {principal} wants",
            config.id, plan.id
        );
        turn.report(Level::Info, About::Cluster, message);
        let reqid = turn.ids.next_id();
        self.operators.insert(reqid.clone(), Some(id));
        self.deployments
            .note(&reqid, note.filter(|note| !note.is_empty()));
        let request = ClientRequest::StageConfiguration { reqid, config };
        self.request(turn, &principal, request, true);
    }
}

/// What is heard of each instance, and by what their nodes would talk.
fn all_heard(
    known: BTreeMap<ZeekString, Nodes>,
    told: Vec<(ZeekString, Told)>,
) -> (BTreeMap<ZeekString, Heard>, BTreeSet<ZeekString>) {
    let mut backends = BTreeSet::new();
    let without_problems = |(name, nodes)| {
        let problems = Vec::new();
        (name, Heard { problems, nodes })
    };
    let mut heard: BTreeMap<ZeekString, Heard> = known.into_iter().map(without_problems).collect();
    for (name, told) in told {
        let known = heard.remove(&name).map(|heard| heard.nodes);
        let (problems, nodes) = match prepared(told) {
            Ok(prepared) => {
                backends.extend(prepared.backend);
                let fates = prepared.fates.map(Nodes::Told);
                let nodes = known.or(fates).unwrap_or_else(|| {
                    Nodes::Unknown(format!(
                        "the agent of instance {name} does not say what it would do"
                    ))
                });
                (prepared.problems, nodes)
            }
            Err(reason) => {
                let reason = format!("instance {name} has not looked whether its nodes can run: {reason}");
                (Vec::new(), Nodes::Unknown(reason))
            }
        };
        heard.insert(name, Heard { problems, nodes });
    }
    (heard, backends)
}

fn prepared(told: Told) -> Result<Prepared, String> {
    match told {
        Ok(Answered::Json { json, .. }) => from_json(&json).map_err(|error| error.to_string()),
        Ok(Answered::Nodes(_)) => Ok(Prepared::default()),
        Err(NotDone { reason, .. }) => Err(reason.excerpt(MESSAGE_BYTES_MAX).to_string()),
    }
}

/// All that makes a plan what it is, as a hexadecimal number. What only tells more of it is left out: since when an instance is away, how long a
/// node took to start.
fn hash(cluster: &str, plan: &Plan, config: &Configuration) -> Result<String, NotDone> {
    #[derive(Serialize)]
    struct All<'a> {
        cluster: &'a str,
        plan: Plan,
        config: ConfigurationFile,
    }
    let mut plan = plan.clone();
    for instance in &mut plan.instances {
        instance.unknown = instance.unknown.as_ref().map(|_| String::new());
    }
    for node in &mut plan.nodes {
        node.start_millis = None;
    }
    let config = ConfigurationFile::from(config);
    let all = written(&All {
        cluster,
        plan,
        config,
    })?;
    let digest = Sha256::digest(&all[..]);
    let hexadecimal = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}"));
    Ok(hexadecimal.collect())
}
