//! Who may ask for what.

use mgmt_api::{
    ClientRequest, Principal,
    access::{Grant, Role},
    operator::{ClusterRequest, NotDone},
};

use super::cluster_name::{ClusterName, DEFAULT};

/// Whether a client may make a request of a cluster, over WebSocket or Broker. Where no roles are set, every client that can connect may make all, as
/// with Zeek.
///
/// # Errors
///
/// If the client lacks the role that it takes.
pub(super) fn check_client(
    principal: &Principal,
    cluster: &ClusterName,
    request: &ClientRequest,
) -> Result<(), NotDone> {
    principal.check(role_of_client(request), Some(cluster.as_str()))
}

/// The role that a client's request takes.
const fn role_of_client(request: &ClientRequest) -> Role {
    match request {
        ClientRequest::GetInstances { .. }
        | ClientRequest::GetConfiguration { .. }
        | ClientRequest::GetNodes { .. }
        | ClientRequest::GetIdValue { .. }
        | ClientRequest::TestTimeout { .. } => Role::Read,
        ClientRequest::StageConfiguration { .. }
        | ClientRequest::Deploy { .. }
        | ClientRequest::Restart { .. } => Role::Deploy,
    }
}

/// Whether an operator may make a request of a cluster, which need not be there.
///
/// # Errors
///
/// If the operator lacks the role that it takes.
pub(super) fn check(principal: &Principal, cluster: &str, request: &ClusterRequest) -> Result<(), NotDone> {
    principal.check(role_for(request), Some(cluster))
}

/// Whether one may hear what is published to the clients of Zeek's API.
pub fn may_hear(grant: Option<&Grant>) -> bool {
    grant.is_none_or(|grant| grant.has(Role::Read, Some(DEFAULT)))
}

/// Whether an operator may see that a cluster is there, how it is, and what happens to it.
pub fn may_read(principal: &Principal, cluster: &str) -> bool {
    principal.has(Role::Read, Some(cluster))
}

/// The role that a request takes.
const fn role_for(request: &ClusterRequest) -> Role {
    match request {
        ClusterRequest::Status
        | ClusterRequest::Outputs(_)
        | ClusterRequest::History(_)
        | ClusterRequest::Configuration(_)
        | ClusterRequest::Deployments
        | ClusterRequest::Deployment(_)
        | ClusterRequest::Rollout
        | ClusterRequest::Revisions
        | ClusterRequest::Revision(_)
        | ClusterRequest::Variable { .. } => Role::Read,
        ClusterRequest::Stop(_)
        | ClusterRequest::Start(_)
        | ClusterRequest::Restart(_)
        | ClusterRequest::Stage { .. }
        // Agents run Zeek for it.
        | ClusterRequest::Plan(_)
        | ClusterRequest::Deploy { .. }
        | ClusterRequest::RollOut { .. }
        | ClusterRequest::OrderRollout(_) => Role::Deploy,
        ClusterRequest::Remove => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use mgmt_api::{
        Proof, Transport,
        access::Grant,
        operator::{
            ConfigurationFile, NewDeployment, NodeName, NotDoneKind, RolloutOptions, RolloutOrder, Selection,
            Station,
        },
    };

    use super::*;

    /// Every request, with the role that it takes.
    fn requests() -> Vec<(ClusterRequest, Role)> {
        let node = NodeName { node: "a".into() };
        let which = Selection::default;
        vec![
            (ClusterRequest::Status, Role::Read),
            (ClusterRequest::Outputs(node.clone()), Role::Read),
            (ClusterRequest::History(node), Role::Read),
            (ClusterRequest::Configuration(Station::Staged), Role::Read),
            (ClusterRequest::Configuration(Station::Deployed), Role::Read),
            (ClusterRequest::Deployments, Role::Read),
            (ClusterRequest::Deployment("1".into()), Role::Read),
            (ClusterRequest::Revisions, Role::Read),
            (ClusterRequest::Revision("1".into()), Role::Read),
            (
                ClusterRequest::Variable {
                    id: "Site::local_nets".into(),
                    node: None,
                },
                Role::Read,
            ),
            (ClusterRequest::Stop(which()), Role::Deploy),
            (ClusterRequest::Start(which()), Role::Deploy),
            (ClusterRequest::Restart(which()), Role::Deploy),
            (
                ClusterRequest::Stage {
                    configuration: ConfigurationFile::default(),
                    expected: None,
                },
                Role::Deploy,
            ),
            (
                ClusterRequest::RollOut {
                    options: RolloutOptions::default(),
                    expected: None,
                },
                Role::Deploy,
            ),
            (ClusterRequest::Rollout, Role::Read),
            (ClusterRequest::OrderRollout(RolloutOrder::Abort), Role::Deploy),
            (ClusterRequest::Plan(ConfigurationFile::default()), Role::Deploy),
            (
                ClusterRequest::Deploy {
                    expected: None,
                    new: NewDeployment::default(),
                },
                Role::Deploy,
            ),
            (ClusterRequest::Remove, Role::Admin),
        ]
    }

    fn with(grant: Grant, by: Proof) -> Principal {
        Principal {
            transport: Transport::Http { by },
            address: None,
            certificate: None,
            grant: Some(grant),
        }
    }

    #[test]
    fn each_request_takes_its_role_in_its_cluster() {
        let token = || Proof::Token { name: "t".into() };
        let lab = ["lab".to_owned()];
        for role in [Role::Read, Role::Deploy, Role::Admin] {
            for (request, takes) in requests() {
                for by in [token(), Proof::Certificate] {
                    let everywhere = with(Grant::of(role, None), by.clone());
                    let in_lab = with(Grant::of(role, Some(&lab)), by);
                    let may = |principal: &Principal, cluster| {
                        let checked = check(principal, cluster, &request);
                        if let Err(refusal) = &checked {
                            assert_eq!(refusal.kind, NotDoneKind::Forbidden);
                            let words = format!("takes the role {takes} in cluster {cluster}");
                            assert!(refusal.reason.to_string().contains(&words), "{refusal:?}");
                        }
                        checked.is_ok()
                    };
                    let expected = role >= takes;
                    assert_eq!(may(&everywhere, "default"), expected, "{role} {request:?}");
                    assert_eq!(may(&in_lab, "lab"), expected, "{role} {request:?}");
                    assert!(!may(&in_lab, "default") && !may(&in_lab, "la"), "{request:?}");
                }
                assert!(check(&testkit::operator(), "any", &request).is_ok());
                let none = with(Grant::default(), Proof::Certificate);
                assert!(check(&none, "lab", &request).is_err());
            }
        }
    }

    #[test]
    fn a_role_in_one_cluster_shows_no_other() {
        let in_lab = with(
            Grant::of(Role::Read, Some(&["lab".to_owned()])),
            Proof::Certificate,
        );
        assert!(may_read(&in_lab, "lab") && !may_read(&in_lab, "default"));
        assert!(may_read(&testkit::operator(), "default"));
    }
}
