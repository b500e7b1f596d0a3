use broker_codec::{Data, data::ZeekString};
use mgmt_api::{Configuration, Principal, RequestKind, ResultRecord};

use super::{
    cluster::{Cluster, WRITES_MAX},
    configurations::{Changes, Slot},
    configuring::invalid,
    input::WriteId,
    operators::answer,
    pending::{AfterWrite, Key, Logged, Pending},
    ports::{NoPortLeft, assign_broker_ports, assign_metrics_ports},
    turn::{Follow, Turn},
    validate::validate,
};

const KIND: RequestKind = RequestKind::StageConfiguration;

impl Cluster {
    /// Checks a configuration, completes it, and has it stored in both forms; and then deployed, if it is for a client who wants that.
    pub(super) fn stage_configuration(
        &mut self,
        turn: &mut Turn<'_>,
        reqid: ZeekString,
        mut config: Configuration,
        deploys_for: Option<Principal>,
    ) {
        let mut errors = validate(&config, &self.settings);
        errors.extend(self.taken_elsewhere(turn, &config));
        if !errors.is_empty() {
            self.invalid(turn, reqid, errors);
            return;
        }
        // Zeek's default for the field.
        // DIFFERENCE(empty-configuration-id): it also stands in for an id that was given and is empty.
        if config.id.is_empty() {
            config.id = turn.ids.next_id();
        }
        let ready = match self.completed(&config) {
            Ok(ready) => ready,
            Err(error) => {
                self.invalid(turn, reqid, vec![error.to_string().into()]);
                return;
            }
        };
        if self.writes.len() >= WRITES_MAX {
            let error = "too many configurations are waiting to be stored";
            self.refuse(turn, KIND, reqid, error, Logged::Finished);
            return;
        }
        let then = AfterWrite::AnswerStaging {
            reqid: reqid.clone(),
            id: config.id.clone(),
        };
        let changes = Changes {
            entries: vec![(Slot::Staged, config.into()), (Slot::Ready, ready.into())],
            ..Changes::default()
        };
        let write = self.write(turn, changes, then);
        let pending = Pending::Staging { write, deploys_for };
        self.await_answer(turn, Key::Client(KIND, reqid), pending);
    }

    /// What is wrong with a configuration because an instance belongs to one cluster.
    pub(super) fn taken_elsewhere(&self, turn: &Turn<'_>, config: &Configuration) -> Vec<ZeekString> {
        let owners = &turn.common.owners;
        let taken = config.instances.iter().filter_map(|instance| {
            let other = owners.named_elsewhere(&instance.name, self.name())?;
            let error = format!(
                "instance '{}' belongs to cluster {other}: deploy that cluster without it first",
                instance.name
            );
            Some(error.into())
        });
        taken.collect()
    }

    /// A configuration is refused for what it says.
    fn invalid(&mut self, turn: &mut Turn<'_>, reqid: ZeekString, errors: Vec<ZeekString>) {
        if let Some(Some(id)) = self.operators.remove(&reqid) {
            return answer(turn, id, Err(invalid(&errors)));
        }
        let results = errors.into_iter();
        let results = results.map(|error| ResultRecord::failure(reqid.clone(), error));
        let results = results.collect();
        self.respond(turn, KIND, reqid, results, Logged::Finished);
    }

    /// The second half: the configurations are stored, or cannot be.
    pub(super) fn answer_staging(
        &mut self,
        turn: &mut Turn<'_>,
        write: WriteId,
        reqid: ZeekString,
        id: ZeekString,
        outcome: Result<(), String>,
    ) {
        let key = Key::Client(KIND, reqid.clone());
        match self.requests.get(&key) {
            Some(Pending::Staging { write: own, .. }) if *own == write => {}
            _ => return, // It timed out, and the client knows.
        }
        let Some(Pending::Staging { deploys_for, .. }) = self.requests.remove(&key) else {
            return;
        };
        match outcome {
            Ok(()) => {
                let result = ResultRecord {
                    data: Some(Data::String(id)),
                    ..ResultRecord::success(reqid.clone())
                };
                // An operator is told when it is being deployed, too.
                if deploys_for.is_none() || !self.operators.contains_key(&reqid) {
                    self.respond(turn, KIND, reqid.clone(), vec![result], Logged::Result);
                }
                let cluster = self.name().clone();
                let deploy = deploys_for.map(|principal| Follow::Deploy {
                    cluster,
                    principal,
                    reqid,
                });
                turn.follows.extend(deploy);
            }
            Err(error) => {
                let error = format!("cannot store the configuration: {error}; nothing was changed");
                self.refuse(turn, KIND, reqid, error, Logged::Finished);
            }
        }
    }

    /// A copy with everything filled in that the controller knows and the client left open.
    pub(super) fn completed(&self, config: &Configuration) -> Result<Configuration, NoPortLeft> {
        let mut config = config.clone();
        // Agents of Zeek start all nodes anew at each deployment.
        let deployed = self.configurations.deployed.as_deref();
        let deployed = deployed.filter(|config| config.cluster_backend().is_some());
        config.instances = self.members.with_observed_hosts(config.instances);
        if self.settings.auto_assign_broker_ports {
            assign_broker_ports(&mut config, deployed, self.settings.auto_assign_broker_start_port)?;
        }
        if self.settings.auto_assign_metrics_ports {
            assign_metrics_ports(
                &mut config,
                deployed,
                self.settings.auto_assign_metrics_start_port,
            )?;
        }
        Ok(config)
    }
}
