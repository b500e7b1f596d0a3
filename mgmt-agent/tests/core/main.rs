//! The agent's core, seen from outside: transcripts, properties.

mod limits;
mod properties;
mod transcript;

testkit::transcripts!("tests/core/transcripts", transcript::Run:
    archival,
    archival_never,
    deploy,
    deploy_bad_names,
    deploy_confirmed,
    deploy_elsewhere,
    deploy_failing_node,
    deploy_late_refusal,
    deploy_nothing,
    deploy_refused_node,
    deploy_same_id,
    deploy_slow_node,
    deploy_superseded,
    deploy_unreachable,
    get_nodes_unsupervised,
    node_dispatch,
    repeated_requests,
    restart,
    standby,
    start,
    start_listening,
    starts_told_apart,
    supervisor_absent,
    supervisor_given_up,
    supervisor_lost,
    supervisor_lost_deploying,
    supervisor_lost_standby,
    supervisor_silent,
    supervisor_stopped,
    topics_are_compared,
    welcome,
    zeek_replaced,
);
