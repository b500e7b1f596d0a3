//! What operators ask of identifiers in nodes.

use broker_codec::{
    Data,
    data::{Set, ZeekString},
};
use mgmt_api::{
    ClientRequest, MESSAGE_BYTES_MAX, Principal, ResultRecord,
    operator::{NodeValue, NotDone, NotDoneKind, Selection, Values, text, written},
};

use super::{cluster::Cluster, operators::answer, turn::Turn};

impl Cluster {
    /// Asks nodes for the value of an identifier, as for a client.
    pub(super) fn ask_for_variable(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        variable: &str,
        node: Option<String>,
    ) {
        let which = Selection {
            all: node.is_none(),
            nodes: node.into_iter().collect(),
            ..Selection::default()
        };
        if let Err(refusal) = self.meant(&which) {
            return answer(turn, id, Err(refusal));
        }
        let reqid = turn.ids.next_id();
        self.operators.insert(reqid.clone(), Some(id));
        let nodes: Set<ZeekString> = which.nodes.into_iter().map(ZeekString::from).collect();
        let request = ClientRequest::GetIdValue {
            reqid,
            id: variable.into(),
            nodes,
        };
        self.request(turn, principal, request, false);
    }
}

/// What an operator is told of the values that nodes have.
pub(super) fn values(results: &[ResultRecord]) -> Result<ZeekString, NotDone> {
    let mut values = Vec::new();
    for result in results {
        let error = result.error.as_ref().filter(|_| !result.success);
        let error = error.map(|error| error.excerpt(MESSAGE_BYTES_MAX).to_string());
        if let (None, None, Some(error)) = (&result.instance, &result.node, &error) {
            return Err(NotDone::new(NotDoneKind::Unavailable, error.as_str()));
        }
        let value = match &result.data {
            Some(Data::String(value)) => Some(text(value)),
            _ => None,
        };
        // An agent without nodes has nothing to say.
        if value.is_some() || error.is_some() {
            values.push(NodeValue {
                instance: result.instance.as_ref().map(text),
                node: result.node.as_ref().map(text),
                value,
                error,
            });
        }
    }
    values.sort_by(|a, b| (&a.instance, &a.node).cmp(&(&b.instance, &b.node)));
    written(&Values { values })
}
