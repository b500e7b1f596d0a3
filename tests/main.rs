//! The one integration-test binary of the workspace.

mod agent_failures;
mod agent_process;
mod agent_recorded;
mod agents;
mod crash;
mod dialects;
mod garbage;
mod journal;
mod landscape;
mod live;
mod misbehaviour;
mod native;
mod news;
mod process;
mod replay;
mod simulated;
mod store;
mod stubborn_nodes;
mod supervised;
mod supervisor_hangs;
mod support;
mod tidy;
mod tls;
mod wire;
mod wire_replay;
mod zeek_client;
