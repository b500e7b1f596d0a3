##! What a Supervisor needs so that its agent can talk to it, as mgmt-agent --start-supervisor has it.
##!
##! mgmt-agent writes this file and gives it to `zeek -j`, which passes it on to all nodes: nothing here is for them but
##! what stands at the end.

@if ( Supervisor::is_supervisor() )

@ifdef ( Cluster::CLUSTER_BACKEND_NONE )
# Since Zeek 8.1 a Supervisor answers through a cluster backend, by default through none.
@load policy/frameworks/cluster/backend/broker
@endif

# What keeps the output of nodes, and tells the agent of it.
@load @SHIM@
redef Management::Supervisor::topic_prefix = "@SHIM_TOPIC@";

# A process that can connect can run anything: on this host only.
redef SupervisorControl::enable_listen = T;
redef SupervisorControl::topic_prefix = "@CONTROL_TOPIC@";
redef Broker::default_listen_address = "@ADDRESS@";

module MgmtAgent;

export {
	## A line about a node that has ended by itself: with which exit status, or by which signal.
	global node_end: event(text: string);
}

# Zeek says this on standard error alone.
event reporter_error(t: time, msg: string, location: string)
	{
	if ( starts_with(msg, "Supervised node '") )
		Broker::publish(Management::Supervisor::topic_prefix, MgmtAgent::node_end, msg);
	}

module GLOBAL;

@endif
