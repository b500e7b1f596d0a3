//! What the core publishes, to peers.

use broker_codec::{Data, data::ZeekString, zeek::Event};
use broker_endpoint::with_causes;
use mgmt_daemon::daemon::Cause;

use super::{Daemon, Runtime};
use crate::{Counted, core::To, wire::reqid_of};

/// What controllers ask for, by the names of the answers in every dialect, which end in `_response`.
const KINDS: [&str; 7] = [
    "agent_standby",
    "agent_welcome",
    "deploy",
    "get_nodes",
    "node_dispatch",
    "restart",
    "set_configuration",
];

impl Runtime {
    pub(super) async fn publish(
        &mut self,
        daemon: &mut Daemon,
        to: To,
        topic: &ZeekString,
        event: Event,
        cause: &Cause,
    ) {
        self.counters.increment(Counted::Published);
        let reqid = reqid_of(&event).cloned();
        let name = event.name.clone();
        tracing::debug!(reqid = reqid.as_ref().map(display), event = %name, %topic, "publishing");
        let mut credit = cause.credit.clone();
        if let Some(kind) = answers(&name) {
            let kept = reqid.as_ref().and_then(|reqid| daemon.answered(reqid));
            let since = kept.as_ref().map_or(cause.since, |kept| kept.since);
            let has_failed = has_failed(&event.args);
            daemon
                .durations
                .observe("controller", kind, !has_failed, since.elapsed());
            if let Some(reqid) = &reqid {
                self.audited.is_answered(reqid, has_failed);
            }
            credit = kept.map_or(credit, |kept| kept.credit);
        }
        if let Err(error) = self.broker.publish(to, topic, event, &credit).await {
            self.counters.increment(Counted::Unsendable);
            tracing::error!(
                reqid = reqid.as_ref().map(display),
                event = %name,
                error = with_causes(&error),
                "cannot send an event"
            );
        }
    }
}

/// What an event answers, if it is an answer.
fn answers(name: &ZeekString) -> Option<&'static str> {
    let asked = name.strip_suffix(b"_response")?;
    let is = |kind: &&&str| asked.ends_with(kind.as_bytes());
    Some(KINDS.iter().find(is).copied().unwrap_or("other"))
}

/// Whether an answer has a result that failed: in every dialect, the first boolean of a `Result` says so.
fn has_failed(args: &[Data]) -> bool {
    args.iter().any(|arg| {
        let Data::Vector(fields) = arg else {
            return false;
        };
        let success = fields.iter().find_map(|field| match field {
            Data::Boolean(success) => Some(*success),
            _ => None,
        });
        success.map_or_else(|| has_failed(fields), |success| !success)
    })
}

#[cfg(test)]
mod tests {
    use broker_codec::data::to_data;
    use mgmt_api::ResultRecord;

    use super::*;

    #[test]
    fn an_answer_has_failed_if_a_result_has() {
        let args = |results: &[bool]| {
            let result = |success: &bool| ResultRecord {
                success: *success,
                data: Some(Data::Boolean(!success)),
                ..ResultRecord::success("r".into())
            };
            let results: Vec<ResultRecord> = results.iter().map(result).collect();
            [Data::String("r".into()), to_data(&results).unwrap()]
        };
        assert!(!has_failed(&args(&[])));
        assert!(!has_failed(&args(&[true, true])));
        assert!(has_failed(&args(&[true, false])));
        assert!(has_failed(&[
            to_data(&ResultRecord::failure("r".into(), "no")).unwrap()
        ]));
    }

    #[test]
    fn answers_are_of_few_kinds() {
        let answers = |name: &str| answers(&name.into());
        assert_eq!(answers("Management::Agent::API::deploy_response"), Some("deploy"));
        assert_eq!(
            answers("ClusterAgent::API::set_configuration_response"),
            Some("set_configuration")
        );
        assert_eq!(answers("Some::new_response"), Some("other"));
        assert_eq!(answers("Management::Agent::API::notify_agent_hello"), None);
    }
}
