//! What the commands about plans ask for, and say.

use std::{fmt::Write as _, path::Path};

use mgmt_api::operator::{
    Deployment, NewDeployment, counted,
    diff::{changed, in_line},
    first_of,
    plan::{InstancePlan, NodePlan, Plan, Step},
};

use crate::{
    Exit,
    client::ClientError,
    commands::Daemon,
    deploy::{can_ask, is_wanted},
    status::{lines, table_of},
};

impl Daemon<'_> {
    pub(crate) async fn plan(&self, file: &Path, tells_changes: bool) -> Result<Exit, ClientError> {
        let plan: Plan = self
            .client
            .post(&self.path_of_cluster("plans")?, &self.read(file).await?)
            .await?;
        let cluster = self
            .options
            .cluster()
            .map_or_else(String::new, |name| format!(" --cluster {name}"));
        self.show(&plan, &in_words(&plan, &cluster));
        Ok(match () {
            () if has_problems(&plan) => Exit::Failed,
            () if !unknown(&plan).is_empty() => Exit::CannotTell,
            () if tells_changes && plan.has_changes => Exit::Changes,
            () => Exit::Done,
        })
    }

    /// Deploys what was planned, and nothing else.
    pub(crate) async fn deploy_plan(
        &self,
        id: &str,
        yes: bool,
        note: Option<String>,
    ) -> Result<Exit, ClientError> {
        if !yes && !can_ask() {
            return Err(ClientError::Usage(
                "deploy asks before it begins, and there is no terminal to ask on: say --yes",
            ));
        }
        if !yes && !is_wanted(&format!("Deploy plan {id}?")) {
            self.tell(&format!("NOT deployed: plan {id}\n"));
            return Ok(Exit::Failed);
        }
        let plan = Some(id.to_owned());
        let path = self.path_of_cluster("deployments")?;
        let begun: Deployment = self.client.post(&path, &NewDeployment { plan, note }).await?;
        self.show_end_of(begun).await
    }
}

fn has_problems(plan: &Plan) -> bool {
    plan.instances
        .iter()
        .any(|instance| !instance.problems.is_empty())
}

/// The instances of which it is not known what would become of their nodes.
fn unknown(plan: &Plan) -> Vec<String> {
    let instances = plan.instances.iter();
    let unknown = instances.filter(|instance| instance.unknown.is_some());
    unknown.map(|instance| in_line(&instance.instance)).collect()
}

fn in_words(plan: &Plan, cluster: &str) -> String {
    let mut text = String::new();
    let touched = plan.nodes.iter().filter(|node| node.step.is_change());
    let touched: Vec<&NodePlan> = touched.collect();
    if !touched.is_empty() {
        let mut table = table_of(["INSTANCE", "NODE", "WHAT", "WHY", "CAPTURES NOTHING"]);
        for node in touched {
            table.add_row([
                in_line(&node.instance),
                in_line(&node.node),
                what(node),
                why(node),
                gap(node),
            ]);
        }
        text += &lines(&table);
    }
    for instance in &plan.instances {
        text += &of_instance(instance);
    }
    for group in &plan.groups {
        let _ = writeln!(text, "{}", in_line(&group.to_string()));
    }
    if plan.has_changes {
        let _ = writeln!(text, "{}\n{}", verdict(plan), next(plan, cluster));
    }
    let _ = writeln!(text, "plan {}: {}", plan.id, sum(plan));
    text
}

fn what(node: &NodePlan) -> String {
    let mut what = node.step.to_string();
    if let Some(from) = &node.from {
        let _ = write!(what, " from {}", in_line(from));
    }
    if node.is_guess {
        what += ", as far as is known";
    }
    what
}

/// In what it differs, and what else is the reason.
fn why(node: &NodePlan) -> String {
    let is_new = node.step == Step::Create;
    let fields = node.fields.iter().filter(|_| !is_new).map(changed);
    let mut reasons: Vec<String> = fields.collect();
    // The fields say it in more detail.
    let is_said = |reason: &&String| reasons.is_empty() || !reason.starts_with("changed: ");
    let reason = node.reason.as_ref().filter(is_said).map(|reason| in_line(reason));
    reasons.extend(reason);
    if reasons.is_empty() {
        return "-".to_owned();
    }
    reasons.join("; ")
}

fn gap(node: &NodePlan) -> String {
    let captures = node.role == mgmt_api::ClusterRole::Worker;
    match (node.step, node.start_millis) {
        (Step::Restart | Step::Move, Some(millis)) if captures => {
            let seconds = std::time::Duration::from_millis(millis).as_secs_f64();
            format!("until it has stopped and started; its last start took {seconds:.1} s")
        }
        (Step::Restart | Step::Move, None) if captures => {
            "until it has stopped and started, usually seconds".to_owned()
        }
        _ => "-".to_owned(),
    }
}

fn of_instance(plan: &InstancePlan) -> String {
    let mut text = String::new();
    let name = in_line(&plan.instance);
    if let Some(change) = plan.change {
        let _ = writeln!(text, "instance {name} is {change}");
    }
    if let Some(note) = &plan.note {
        let _ = writeln!(text, "instance {name}: {}", in_line(note));
    }
    if let Some(reason) = &plan.unknown {
        let _ = writeln!(
            text,
            "not known what would become of nodes on {name}: {}",
            in_line(reason)
        );
    }
    for problem in &plan.problems {
        let (node, reason) = (in_line(&problem.node), in_line(&problem.reason));
        let _ = writeln!(text, "{node} cannot run on {name}: {reason}");
    }
    text
}

fn verdict(plan: &Plan) -> String {
    match &plan.whole_cluster[..] {
        [] => "rollable: it can be tried on one instance".to_owned(),
        reasons => {
            let reasons: Vec<String> = reasons.iter().map(|reason| in_line(reason)).collect();
            format!("whole cluster: {}", first_of(&reasons))
        }
    }
}

/// What to do next.
fn next(plan: &Plan, cluster: &str) -> String {
    let deploy = format!("mgmtctl{cluster} deploy --plan {}", plan.id);
    let unknown = unknown(plan);
    if has_problems(plan) {
        "NOT to be deployed: mend what cannot run, and plan again".to_owned()
    } else if unknown.is_empty() {
        format!("deploy it: {deploy}")
    } else {
        let which = first_of(&unknown);
        format!("look at {which} and plan again, or deploy it as it is: {deploy}")
    }
}

/// `1 node restarts, 107 run on, 0 start, 0 stop`
fn sum(plan: &Plan) -> String {
    let count = |steps: &[Step]| {
        let nodes = plan.nodes.iter();
        nodes.filter(|node| steps.contains(&node.step)).count()
    };
    let stay_stopped = match count(&[Step::StayStopped]) {
        0 => String::new(),
        1 => ", 1 stays stopped".to_owned(),
        several => format!(", {several} stay stopped"),
    };
    let run_on = count(&[Step::Keep]);
    if !plan.has_changes {
        return format!("nothing to change, {} on{stay_stopped}", verb(run_on, "run"));
    }
    let mut sum = format!(
        "{}, {run_on} run on, {} start, {} stop",
        verb(count(&[Step::Restart]), "restart"),
        count(&[Step::Create, Step::Start]),
        count(&[Step::Stop]),
    );
    for (steps, what) in [(Step::Move, "move"), (Step::Unknown, "not known")] {
        match count(&[steps]) {
            0 => {}
            number => _ = write!(sum, ", {number} {what}"),
        }
    }
    sum + &stay_stopped
}

/// `1 node restarts`, `2 nodes restart`
fn verb(number: usize, verb: &str) -> String {
    let ending = if number == 1 { "s" } else { "" };
    format!("{} {verb}{ending}", counted(number, "node"))
}

#[cfg(test)]
mod tests {
    use mgmt_api::{
        ClusterRole,
        operator::{
            diff::Field,
            plan::{GroupPlan, NodeProblem},
        },
    };

    use super::*;

    fn plan() -> Plan {
        let node = |name: &str, step| NodePlan {
            node: name.to_owned(),
            instance: "sensor1".to_owned(),
            role: ClusterRole::Worker,
            step,
            ..NodePlan::default()
        };
        let mut restarted = node("w1", Step::Restart);
        restarted.reason = Some("changed: environment".to_owned());
        restarted.start_millis = Some(3_210);
        restarted.fields = vec![Field {
            name: "env A".to_owned(),
            old: None,
            new: Some("1\nplan x: nothing to change".to_owned()),
        }];
        Plan {
            id: "0a1b".to_owned(),
            deployed: Some("c1".to_owned()),
            has_changes: true,
            instances: vec![InstancePlan {
                instance: "sensor1".to_owned(),
                ..InstancePlan::default()
            }],
            nodes: vec![
                restarted,
                node("w2", Step::Keep),
                node("w3", Step::Keep),
                node("w4", Step::StayStopped),
            ],
            groups: vec![GroupPlan {
                instance: "sensor1".to_owned(),
                interface: "af_packet::eth1".to_owned(),
                before: 4,
                after: 4,
                restart: 1,
            }],
            ..Plan::default()
        }
    }

    fn last(text: &str, count: usize) -> Vec<&str> {
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len() - count..].to_vec()
    }

    #[test]
    fn a_plan_is_a_table_and_three_lines() {
        let text = in_words(&plan(), "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines[1].contains(r"restarts  env A is 1\nplan x"), "{text}");
        assert!(lines[1].ends_with("its last start took 3.2 s"), "{text}");
        assert!(lines[2].starts_with("1 of 4 workers of af_packet::eth1 on sensor1 restart"));
        assert_eq!(
            last(&text, 3),
            [
                "rollable: it can be tried on one instance",
                "deploy it: mgmtctl deploy --plan 0a1b",
                "plan 0a1b: 1 node restarts, 2 run on, 0 start, 0 stop, 1 stays stopped",
            ]
        );
    }

    #[test]
    fn what_is_wrong_not_known_or_of_the_whole_cluster_is_said() {
        let mut wrong = plan();
        wrong.whole_cluster = vec!["node w9 is added".to_owned()];
        wrong.instances[0].problems = vec![NodeProblem {
            node: "w1".to_owned(),
            reason: "no".to_owned(),
        }];
        let text = in_words(&wrong, "");
        assert!(text.contains("\nw1 cannot run on sensor1: no\n"), "{text}");
        assert_eq!(
            last(&text, 3)[..2],
            [
                "whole cluster: node w9 is added",
                "NOT to be deployed: mend what cannot run, and plan again",
            ]
        );
        let mut away = plan();
        away.instances[0].unknown = Some("instance sensor1 is not connected".to_owned());
        away.nodes[0].is_guess = true;
        let text = in_words(&away, " --cluster lab");
        assert!(text.contains("restarts, as far as is known"), "{text}");
        assert_eq!(
            last(&text, 3)[1],
            "look at sensor1 and plan again, or deploy it as it is: mgmtctl --cluster lab deploy --plan 0a1b"
        );
    }

    #[test]
    fn nothing_to_change_is_one_line() {
        let mut same = plan();
        same.has_changes = false;
        same.nodes.remove(0);
        same.groups.clear();
        assert_eq!(
            in_words(&same, ""),
            "plan 0a1b: nothing to change, 2 nodes run on, 1 stays stopped\n"
        );
    }
}
