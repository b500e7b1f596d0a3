//! The plans that were made lately, each with the configuration that it is for.

use std::collections::VecDeque;

use mgmt_api::operator::{ConfigurationFile, plan::Plan};

/// How many are remembered of a cluster, in memory.
pub(super) const PLANS_MAX: usize = 8;

/// Of how many nodes: a further plan is forgotten when the later ones have as many.
const NODES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Plans {
    /// The last one first.
    made: VecDeque<Made>,
}

#[derive(Debug)]
pub(super) struct Made {
    pub(super) plan: Plan,
    /// As it was given.
    pub(super) given: ConfigurationFile,
}

impl Plans {
    pub(super) fn remember(&mut self, plan: Plan, given: ConfigurationFile) {
        self.made.retain(|made| made.plan.id != plan.id);
        self.made.push_front(Made { plan, given });
        let mut nodes = 0;
        let kept = self.made.iter().take(PLANS_MAX).take_while(|made| {
            let is_kept = nodes < NODES_MAX;
            nodes += made.plan.nodes.len();
            is_kept
        });
        self.made.truncate(kept.count());
    }

    pub(super) fn get(&self, id: &str) -> Option<&Made> {
        self.made.iter().find(|made| made.plan.id == id)
    }
}

#[cfg(test)]
mod tests {
    use mgmt_api::operator::plan::NodePlan;

    use super::*;

    #[test]
    fn as_many_are_remembered_as_have_so_many_nodes_and_the_last_one() {
        for (nodes, remembered) in [(1, PLANS_MAX), (4_000, 5), (50_000, 1)] {
            let mut plans = Plans::default();
            for number in 0..2 * PLANS_MAX {
                let plan = Plan {
                    id: number.to_string(),
                    nodes: vec![NodePlan::default(); nodes],
                    ..Plan::default()
                };
                plans.remember(plan.clone(), ConfigurationFile::default());
                plans.remember(plan, ConfigurationFile::default());
            }
            assert_eq!(plans.made.len(), remembered, "{nodes} nodes each");
            assert!(plans.get("15").is_some() && plans.get("0").is_none());
        }
    }
}
