//! Operators ask on the control socket, and are answered once each.

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClusterRole, OperatorRequest,
    link::to_json,
    operator::{
        AgentStatus, Changed, ClusterRequest, ClusterStatus, NodeName, NotDone, NotDoneKind, Outputs,
        Selection,
    },
};
use mgmt_controller::core::Input;

use super::World;

impl World {
    /// An operator asks for something.
    pub(super) fn operate(&mut self) {
        self.operators += 1;
        let id = self.operators;
        let which = Selection {
            role: self.dice.percent(50).then_some(ClusterRole::Worker),
            ..Selection::default()
        };
        let request = match self.dice.below(6) {
            0 => ClusterRequest::Stop(which),
            1 => ClusterRequest::Start(which),
            2 => ClusterRequest::Restart(Selection::default()),
            3 => ClusterRequest::Outputs(NodeName { node: "node0".into() }),
            _ => ClusterRequest::Status,
        };
        self.operating
            .insert(id, matches!(request, ClusterRequest::Status));
        self.step(Input::Operator {
            id,
            principal: testkit::operator(),
            cluster: "default".into(),
            request,
        });
    }

    /// An operator is answered. A status names every instance of the deployed configuration, and all of its nodes.
    pub(super) fn operator_answered(&mut self, id: u64, outcome: Result<ZeekString, NotDone>) {
        let is_status = self.operating.remove(&id).expect("each is answered once");
        let Ok(json) = outcome else {
            assert!(!is_status, "{outcome:?}");
            self.saw("an operator that was refused", 1);
            return;
        };
        if !is_status {
            return;
        }
        self.saw("an operator that was told of a cluster", 1);
        let status: ClusterStatus = serde_json::from_slice(&json).expect("a status");
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
            OperatorRequest::Stop(which) | OperatorRequest::Start(which) => to_json(&Changed {
                nodes: which.nodes,
                failures: Vec::new(),
            }),
        };
        (true, json.unwrap())
    }
}
