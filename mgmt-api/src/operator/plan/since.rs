//! What has changed since a plan was made.

use std::collections::{BTreeMap, BTreeSet};

use super::{InstancePlan, NodePlan, Plan};

/// How many reasons are given.
const REASONS_MAX: usize = 8;

/// In what a plan that is made anew differs from an earlier one for the same configuration: a line for each, the first of many.
pub fn since(earlier: &Plan, now: &Plan) -> Vec<String> {
    let mut reasons = Vec::new();
    if earlier.deployed != now.deployed {
        let shown = |id: &Option<String>| match id {
            Some(id) => format!("configuration {id}"),
            None => "nothing".to_owned(),
        };
        let (was, is) = (shown(&earlier.deployed), shown(&now.deployed));
        reasons.push(format!("{is} is deployed now, and {was} was"));
    }
    let instances = by_name(&earlier.instances, |plan| &plan.instance);
    for plan in &now.instances {
        if let Some(before) = instances.get(plan.instance.as_str()) {
            reasons.extend(instance_since(before, plan));
        }
    }
    let nodes = by_name(&earlier.nodes, |plan| &plan.node);
    for plan in &now.nodes {
        let before = nodes.get(plan.node.as_str());
        reasons.extend(node_since(before.copied(), plan));
    }
    if reasons.is_empty() {
        reasons.push("what the controller fills in, ports or addresses, is another than then".to_owned());
    }
    if let Some(more) = reasons.len().checked_sub(REASONS_MAX).filter(|more| *more > 0) {
        reasons.truncate(REASONS_MAX);
        reasons.push(format!("and {more} more"));
    }
    reasons
}

fn by_name<T>(plans: &[T], name: impl Fn(&T) -> &String) -> BTreeMap<&str, &T> {
    plans.iter().map(|plan| (name(plan).as_str(), plan)).collect()
}

fn instance_since(before: &InstancePlan, now: &InstancePlan) -> Vec<String> {
    let name = &now.instance;
    let mut reasons = Vec::new();
    match (&before.unknown, &now.unknown) {
        (None, Some(reason)) => reasons.push(reason.clone()),
        (Some(_), None) => reasons.push(format!("the agent of instance {name} answers now")),
        _ => {}
    }
    if before.note != now.note {
        reasons.push(format!("the agent of instance {name} is another one"));
    }
    let found = |of: &InstancePlan, other: &InstancePlan, what: &str| {
        let [of, other] = [of, other].map(|plan| plan.problems.iter().collect::<BTreeSet<_>>());
        let news = of.difference(&other);
        news.map(|problem| format!("node {} {what} on {name}: {}", problem.node, problem.reason))
            .collect::<Vec<_>>()
    };
    reasons.extend(found(now, before, "cannot run now"));
    reasons.extend(found(before, now, "is no longer in this trouble"));
    reasons
}

fn node_since(before: Option<&NodePlan>, now: &NodePlan) -> Option<String> {
    let name = &now.node;
    let would = format!("node {name} {}", now.step);
    let why = now.reason.as_ref().map(|reason| format!(" ({reason})"));
    let why = why.unwrap_or_default();
    match before {
        None => Some(format!("{would} now{why}, and was not there")),
        Some(before) if before.step != now.step => {
            Some(format!("{would} now{why}; the plan says that it {}", before.step))
        }
        Some(before) if before.reason != now.reason => Some(format!("{would} for another reason{why}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Step, *};

    fn plan() -> Plan {
        let node = |node: &str, step| NodePlan {
            node: node.to_owned(),
            instance: "a".to_owned(),
            step,
            ..NodePlan::default()
        };
        Plan {
            deployed: Some("c1".to_owned()),
            instances: vec![InstancePlan {
                instance: "a".to_owned(),
                ..InstancePlan::default()
            }],
            nodes: vec![node("m", Step::Keep), node("w", Step::Restart)],
            ..Plan::default()
        }
    }

    #[test]
    fn all_that_differs_is_told() {
        let mut now = plan();
        now.deployed = Some("c2".to_owned());
        now.instances[0].unknown = Some("instance a is not connected (never seen)".to_owned());
        now.nodes[0].step = Step::Restart;
        now.nodes[0].reason = Some("it had failed".to_owned());
        assert_eq!(
            since(&plan(), &now),
            [
                "configuration c2 is deployed now, and configuration c1 was",
                "instance a is not connected (never seen)",
                "node m restarts now (it had failed); the plan says that it runs on",
            ]
        );
        assert_eq!(
            since(&now, &plan())[1..],
            [
                "the agent of instance a answers now",
                "node m runs on now; the plan says that it restarts"
            ]
        );
    }

    #[test]
    fn of_many_the_first_are_told_and_there_is_always_one() {
        assert_eq!(since(&plan(), &plan()).len(), 1);
        let mut now = plan();
        let node = now.nodes[0].clone();
        now.nodes = (0..20)
            .map(|number| NodePlan {
                node: format!("n{number}"),
                ..node.clone()
            })
            .collect();
        let told = since(&plan(), &now);
        assert_eq!(told.len(), REASONS_MAX + 1);
        assert_eq!(told.last().map(String::as_str), Some("and 12 more"));
    }
}
