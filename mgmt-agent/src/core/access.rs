//! Who may ask for what.

use mgmt_api::{OperatorRequest, Principal, access::Role, operator::NotDone};

/// Whether an operator may make a request. An agent has no clusters, so a role in one of them counts for nothing here.
///
/// # Errors
///
/// If the operator lacks the role that it takes.
pub(super) fn check(principal: &Principal, request: &OperatorRequest) -> Result<(), NotDone> {
    let role = match request {
        OperatorRequest::Status | OperatorRequest::Outputs(_) | OperatorRequest::History(_) => Role::Read,
        OperatorRequest::Stop(_) | OperatorRequest::Start(_) => Role::Deploy,
        OperatorRequest::Adopt => Role::Admin,
    };
    principal.check(role, None)
}

/// Whether a controller may give orders: one can do everything with what a deployment names, so each takes the same role. Where no roles are set,
/// every peer that can connect may, as with Zeek.
///
/// # Errors
///
/// If the controller lacks the role.
pub fn check_controller(principal: Option<&Principal>) -> Result<(), NotDone> {
    principal.map_or(Ok(()), |principal| principal.check(Role::Deploy, None))
}

#[cfg(test)]
mod tests {
    use mgmt_api::{
        Proof, Transport,
        access::Grant,
        operator::{NodeName, Selection},
    };

    use super::*;

    #[test]
    fn each_request_takes_its_role() {
        let requests = [
            (OperatorRequest::Status, Role::Read),
            (
                OperatorRequest::Outputs(NodeName { node: "a".into() }),
                Role::Read,
            ),
            (
                OperatorRequest::History(NodeName { node: "a".into() }),
                Role::Read,
            ),
            (OperatorRequest::Stop(Selection::default()), Role::Deploy),
            (OperatorRequest::Start(Selection::default()), Role::Deploy),
            (OperatorRequest::Adopt, Role::Admin),
        ];
        let with = |grant| Principal {
            transport: Transport::Http {
                by: Proof::Token { name: "t".into() },
            },
            address: None,
            certificate: None,
            grant: Some(grant),
        };
        for (request, takes) in requests {
            for role in [Role::Read, Role::Deploy, Role::Admin] {
                let may = |grant| check(&with(grant), &request).is_ok();
                assert_eq!(may(Grant::of(role, None)), role >= takes, "{role} {request:?}");
                assert!(!may(Grant::of(role, Some(&["lab".to_owned()]))));
            }
            assert!(check(&testkit::operator(), &request).is_ok());
        }
    }
}
