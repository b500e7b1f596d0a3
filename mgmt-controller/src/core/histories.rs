//! What has become of a node: its agent remembers that. Of one that does not, or is away, is told what is known here.

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::{
    AgentRequest, OperatorRequest,
    operator::{NodeHistory, NodeName, NotDone, written},
};

use super::{
    asking::{Answered, Asking, Told, Wanted},
    cluster::Cluster,
    fanout::Fanout,
    heard::Node,
    operators::{ask, unknown},
    turn::Turn,
};

impl Cluster {
    pub(super) fn ask_for_history(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        node: NodeName,
    ) -> Result<Asking, NotDone> {
        let instance = self.instance_of(&node.node)?;
        let name = node.node.as_str().into();
        let (mut fanout, mut is_remembered) = (Fanout::default(), false);
        if let Some(peer) = self.members.peers.agent(&instance).map(|agent| agent.peer) {
            let features = self.members.peers.features_of(peer);
            let reqid = turn.ids.next_id();
            fanout.ask(reqid.clone(), instance.clone());
            is_remembered = features.remembers;
            if features.remembers {
                ask(turn, peer, reqid, &OperatorRequest::History(node));
            } else if features.is_operated {
                ask(turn, peer, reqid, &OperatorRequest::Status);
            } else {
                self.members
                    .send(turn, &instance, AgentRequest::GetNodes { reqid });
            }
        }
        Ok(Asking {
            id: Some(id),
            wanted: Wanted::History {
                instance,
                node: name,
                is_remembered,
            },
            fanout,
        })
    }

    /// The instance that is to have the node of this name.
    pub(super) fn instance_of(&self, node: &str) -> Result<ZeekString, NotDone> {
        let deployed = self.configurations.deployed.iter();
        let mut deployed = deployed.flat_map(|config| &config.nodes);
        let found = deployed.find(|deployed| deployed.name == node);
        let found = found.ok_or_else(|| unknown(&format!("node {}", Excerpt::new(node.as_bytes()))))?;
        Ok(found.instance.clone())
    }

    /// What its agent remembers, or else how it is said to be, and why no more is known.
    pub(super) fn history(
        &self,
        turn: &Turn<'_>,
        instance: &ZeekString,
        node: &ZeekString,
        told: Option<Told>,
        is_remembered: bool,
    ) -> Result<ZeekString, NotDone> {
        let told = match told {
            Some(Ok(Answered::Json { json, .. })) if is_remembered => return Ok(json),
            told => told,
        };
        let report = self.instance_report(turn, instance, turn.now, told);
        let trouble = report.trouble.or_else(|| self.not_announced(instance));
        let mut trouble = trouble.unwrap_or_else(|| {
            format!(
                "the agent of instance {instance} is Zeek's, or older than this controller: it does not remember what becomes of its nodes"
            )
        });
        let Node { starts, crashes, .. } = self.heard.of(instance, node);
        if starts + crashes > 0 {
            let heard = format!(
                "; this controller has heard {starts} times that it is up, and {crashes} times that it ended by itself"
            );
            trouble.push_str(&heard);
        }
        let mut nodes = report.nodes.into_iter();
        written(&NodeHistory {
            instance: report.instance,
            now: nodes
                .find(|known| *node == known.node.as_str())
                .unwrap_or_default(),
            trouble: Some(trouble),
            ..NodeHistory::default()
        })
    }
}
