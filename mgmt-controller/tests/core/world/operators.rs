//! Operators ask on the control socket, and are answered once each.

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClusterRole, OperatorRequest,
    link::to_json,
    operator::{
        AgentStatus, Changed, ClusterRequest, ClusterStatus, ConfigurationFile, Deployment, DeploymentState,
        Deployments, Expected, NewDeployment, NodeHistory, NodeName, NotDone, NotDoneKind, Outputs, Progress,
        Selection, Staged, Vitals, plan::Plan,
    },
};
use mgmt_controller::core::{DEPLOYMENTS_MAX, Input};

use super::World;

impl World {
    /// An operator asks for something. One who changes configurations does in times of trouble: then no client relies on what it has staged.
    pub(super) fn operate(&mut self) {
        self.step(Input::Vitals { id: 0 });
        let which = Selection {
            role: self.dice.percent(50).then_some(ClusterRole::Worker),
            ..Selection::default()
        };
        let which = Selection {
            all: which.role.is_none(),
            ..which
        };
        let request = match self.dice.below(7) {
            0 => ClusterRequest::Stop(which),
            1 => ClusterRequest::Start(which),
            2 => ClusterRequest::Restart(Selection::default()),
            3 => ClusterRequest::Outputs(NodeName { node: "node0".into() }),
            4 => ClusterRequest::Variable {
                id: "x".into(),
                node: self.dice.percent(50).then(|| "node0".into()),
            },
            _ => ClusterRequest::Status,
        };
        self.operator_asks(request);
        if self.troubled {
            let request = self.random_change();
            self.operator_asks(request);
        }
        if let Some(id) = self.begun.clone() {
            self.operator_asks(ClusterRequest::Deployment(id));
        }
    }

    fn operator_asks(&mut self, request: ClusterRequest) {
        self.operators += 1;
        self.operating.insert(self.operators, request.clone());
        self.step(Input::Operator {
            id: self.operators,
            principal: testkit::operator(),
            cluster: "default".into(),
            request,
        });
    }

    /// What monitors the controller hears of every instance of the deployed configuration that is away, and of no other.
    pub(super) fn examined(&mut self, vitals: &Vitals) {
        let deployed = self.controller.deployed_configuration();
        let instances = deployed.into_iter().flat_map(|config| &config.instances);
        let is_away = |name: &ZeekString| {
            let mut failing = vitals.failing.iter();
            failing.any(|text| text.starts_with(&format!("instance {name} is not connected")))
        };
        let away = instances.filter(|instance| is_away(&instance.name)).count();
        assert_eq!(away, vitals.failing.len(), "{vitals:?}");
        self.saw("an instance that was told to be away", away as u64);
    }

    /// What rests on something else than what is deployed is refused.
    fn random_change(&mut self) -> ClusterRequest {
        let deployed = self.controller.deployed_configuration();
        let expected = Some(Expected::of(deployed.map(|config| &config.id)));
        let expected = match self.dice.below(10) {
            0 => None,
            1 => Some(Expected::Tag("\"another\"".into())),
            _ => expected,
        };
        match self.dice.below(7) {
            0 | 1 => ClusterRequest::Stage {
                configuration: ConfigurationFile::from(&self.random_configuration()),
                expected,
            },
            2 | 3 => ClusterRequest::Deploy {
                expected,
                new: NewDeployment::default(),
            },
            4 => ClusterRequest::Plan(ConfigurationFile::from(&self.random_configuration())),
            5 => ClusterRequest::Deploy {
                expected: None,
                new: NewDeployment {
                    plan: self.planned.clone(),
                    note: None,
                },
            },
            _ => ClusterRequest::Deployments,
        }
    }

    /// An operator is answered.
    pub(super) fn operator_answered(&mut self, id: u64, outcome: Result<ZeekString, NotDone>) {
        let asked = self.operating.remove(&id).expect("each is answered once");
        match (asked, outcome) {
            (ClusterRequest::Status, outcome) => self.told_of_cluster(&outcome.expect("a status")),
            (ClusterRequest::Stage { .. }, Ok(json)) => {
                self.saw("a configuration that an operator staged", 1);
                let Staged { id } = serde_json::from_slice(&json).expect("an id");
                let staged = self.durable.staged.as_ref().map(|config| config.id.to_string());
                assert_eq!(staged, Some(id), "it is durable");
            }
            (ClusterRequest::Plan(configuration), Ok(json)) => {
                self.saw("a plan", 1);
                let plan: Plan = serde_json::from_slice(&json).expect("a plan");
                let is_planned =
                    |name: &ZeekString| plan.nodes.iter().any(|node| *name == node.node.as_str());
                let mut nodes = configuration.nodes.iter();
                assert!(nodes.all(|node| is_planned(&node.name)), "{plan:?}");
                self.planned = Some(plan.id);
            }
            (ClusterRequest::Deploy { new, .. }, Ok(json)) => {
                self.saw("a deployment that an operator began", 1);
                self.saw("a plan that was deployed", new.plan.is_some().into());
                let begun: Deployment = serde_json::from_slice(&json).expect("a deployment");
                self.begun = Some(begun.summary.id);
            }
            (ClusterRequest::Deployment(id), outcome) => {
                // Others have taken its place, or the controller is another one.
                let Ok(json) = outcome else {
                    self.begun = None;
                    return;
                };
                let told: Deployment = serde_json::from_slice(&json).expect("a deployment");
                assert_eq!(told.summary.id, id);
                self.told_of_deployment(&told);
            }
            (ClusterRequest::Deployments, outcome) => {
                let told: Deployments = serde_json::from_slice(&outcome.expect("all")).expect("deployments");
                assert!(told.deployments.len() <= DEPLOYMENTS_MAX + 1);
            }
            (_, Err(NotDone { kind, .. })) => {
                let unexpected = [NotDoneKind::NotAsExpected, NotDoneKind::NothingExpected].contains(&kind);
                self.saw("an operator who expected something else", unexpected.into());
                self.saw("an operator that was refused", 1);
            }
            _ => {}
        }
    }

    /// What is done is up, and what has failed says why.
    fn told_of_deployment(&mut self, told: &Deployment) {
        let nodes = || told.instances.iter().flat_map(|instance| &instance.nodes);
        let is_ended = told.summary.ended.is_some();
        assert_eq!(
            is_ended,
            told.summary.state != DeploymentState::Running,
            "{told:?}"
        );
        match told.summary.state {
            DeploymentState::Done => {
                self.saw("a deployment that an operator saw done", 1);
                assert!(nodes().all(|node| node.state == Progress::Up), "{told:?}");
            }
            DeploymentState::Failed => {
                self.saw("a deployment that an operator saw failed", 1);
                let reasons = told.instances.iter().filter(|instance| instance.reason.is_some());
                let reasons = reasons.count() + nodes().filter(|node| node.reason.is_some()).count();
                assert!(reasons + told.summary.errors.len() > 0, "{told:?}");
            }
            _ => {}
        }
    }

    /// A status names every instance of the deployed configuration, and all of its nodes.
    fn told_of_cluster(&mut self, json: &ZeekString) {
        self.saw("an operator that was told of a cluster", 1);
        let status: ClusterStatus = serde_json::from_slice(json).expect("a status");
        let deployed = self.controller.deployed_configuration();
        assert_eq!(status.deployed, deployed.map(|config| config.id.to_string()));
        for instance in deployed.into_iter().flat_map(|config| &config.instances) {
            let report = status
                .instances
                .iter()
                .find(|report| instance.name == report.instance.as_str());
            assert!(
                report.is_some_and(|report| report.is_deployed),
                "{}: {status:?}",
                instance.name
            );
        }
        let told: Vec<&str> = status
            .instances
            .iter()
            .flat_map(|report| &report.nodes)
            .map(|node| &*node.node)
            .collect();
        for node in deployed.into_iter().flat_map(|config| &config.nodes) {
            assert!(
                told.iter().any(|name| node.name == *name),
                "{}: {status:?}",
                node.name
            );
        }
    }

    /// What an agent answers.
    pub(super) fn operated_by_agent(&mut self, kind: &ZeekString, json: &ZeekString) -> (bool, ZeekString) {
        if self.troubled && self.dice.percent(5) {
            return (
                false,
                to_json(&NotDone::new(NotDoneKind::Unavailable, "no")).unwrap(),
            );
        }
        let json = match OperatorRequest::read(kind, json)
            .expect("a kind")
            .expect("a request")
        {
            OperatorRequest::Status => to_json(&AgentStatus::default()),
            OperatorRequest::Outputs(_) => to_json(&Outputs::default()),
            OperatorRequest::History(_) => to_json(&NodeHistory::default()),
            OperatorRequest::Stop(which) | OperatorRequest::Start(which) => to_json(&Changed {
                nodes: which.nodes,
                failures: Vec::new(),
            }),
            OperatorRequest::Adopt => unreachable!("no controller asks for that"),
        };
        (true, json.unwrap())
    }
}
