//! What an event gives away about its sender.

use broker_codec::{Data, zeek::Event};

use super::Dialect;

/// What can be concluded from an event about the dialect of who sent it, if that was thought to be `before`. `None` if
/// nothing can.
///
/// | seen | conclusion |
/// |---|---|
/// | a module of 4.x | 4.2, or 4.1 if that is known already; what only 4.2 has settles it |
/// | `notify_agent_hello` with three arguments | Seed |
/// | `set_configuration_*` | Seed, or 5.0.0-rc1 if that is known already |
/// | a text as the second element of an agent's or node's result | Seed if its hello was that, else 5.0.0-rc1 |
/// | `get_configuration_request` with one argument; from a Seed: `get_id_value_*`, `node_dispatch_*` | 5.0.0-rc1 |
/// | a node of ten elements, a node's state of six | 5.0 |
/// | a node of eleven elements, a node's state of seven | 7.0 |
/// | an event that came with 5.0 | 5.0, if something older was thought |
pub(super) fn detect(event: &Event, before: Dialect) -> Option<Dialect> {
    let name = event.name.as_str()?;
    let (module, verb) = name.rsplit_once("::")?;
    match module {
        "ClusterController::API" | "ClusterAgent::API" => {
            let since_4_2 = ["test_timeout", "agent_welcome", "agent_standby"];
            let known = before == Dialect::V4_1 && !since_4_2.iter().any(|prefix| verb.starts_with(prefix));
            Some(if known { Dialect::V4_1 } else { Dialect::V4_2 })
        }
        "Management::Controller::API" | "Management::Agent::API" | "Management::Node::API" => {
            if before.is_cluster_controller() {
                return of_management(event, module, verb, Dialect::V7_0).or(Some(Dialect::V7_0));
            }
            of_management(event, module, verb, before)
        }
        _ => None,
    }
}

fn of_management(event: &Event, module: &str, verb: &str, before: Dialect) -> Option<Dialect> {
    let before_5_0 = || match before {
        Dialect::V5_0Rc1 => Dialect::V5_0Rc1,
        _ => Dialect::Seed,
    };
    // An agent of the seed's API has said its hello before.
    let of_old_agent = || match before {
        Dialect::Seed => Dialect::Seed,
        _ => Dialect::V5_0Rc1,
    };
    let since_5_0 = || match before {
        Dialect::V5_0 => Dialect::V5_0,
        _ => Dialect::V7_0,
    };
    let of_agent = module == "Management::Agent::API";
    match verb {
        "notify_agent_hello" if event.args.len() == 3 => Some(Dialect::Seed),
        "notify_agent_hello" if before == Dialect::Seed => Some(Dialect::V5_0Rc1),
        "set_configuration_response"
            if of_agent && matches!(element(event.args.get(1)?, 0)?, Data::Vector(_)) =>
        {
            Some(Dialect::V5_0Rc1)
        }
        "set_configuration_request" | "set_configuration_response" => Some(before_5_0()),
        "get_configuration_request" if event.args.len() == 1 => Some(Dialect::V5_0Rc1),
        "stage_configuration_request" => of_configuration(event.args.get(1)?).or_else(|| Some(since_5_0())),
        "deploy_request" if of_agent => of_configuration(event.args.get(1)?).or_else(|| Some(since_5_0())),
        "get_configuration_request"
        | "deploy_request"
        | "deploy_response"
        | "restart_request"
        | "restart_response" => Some(since_5_0()),
        "get_nodes_response" if of_agent => of_result(event.args.get(1)?, of_old_agent()),
        "agent_welcome_response" | "agent_standby_response" => of_result(event.args.get(1)?, of_old_agent())
            .or_else(|| (before < Dialect::V5_0).then_some(Dialect::V7_0)),
        "node_dispatch_request" | "get_id_value_request" => {
            (before == Dialect::Seed).then_some(Dialect::V5_0Rc1)
        }
        "node_dispatch_response" => {
            let results = event.args.get(1)?;
            let result = if of_agent { element(results, 0)? } else { results };
            of_result(result, Dialect::V5_0Rc1)
        }
        "notify_change" => of_node(event.args.get(1)?),
        _ => None,
    }
}

/// Where the order of a result's fields, or the length of a node's state in it, tells.
fn of_result(result: &Data, old: Dialect) -> Option<Dialect> {
    match element(result, 1)? {
        Data::String(_) => Some(old),
        _ => match element(element(result, 3)?, 0)? {
            Data::Vector(state) if state.len() == 6 => Some(Dialect::V5_0),
            Data::Vector(_) => Some(Dialect::V7_0),
            _ => None,
        },
    }
}

fn of_configuration(config: &Data) -> Option<Dialect> {
    match element(config, 2)? {
        Data::Set(nodes) => of_node(nodes.as_slice().first()?),
        _ => None,
    }
}

fn of_node(node: &Data) -> Option<Dialect> {
    match node {
        Data::Vector(fields) if fields.len() == 10 => Some(Dialect::V5_0),
        Data::Vector(_) => Some(Dialect::V7_0),
        _ => None,
    }
}

/// The element of a list.
fn element(list: &Data, index: usize) -> Option<&Data> {
    match list {
        Data::Vector(elements) => elements.get(index),
        _ => None,
    }
}
