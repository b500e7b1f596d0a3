##! Connects a cluster node under mgmt-agent's own supervision to its agent: it says that it is there, that it lives and that it ends,
##! and answers what it is asked. Each node loads it, last. For Zeek 6.0 and later, with any cluster backend.
##!
##! What the agent says in the node's environment:
##!   MGMT_NODE_AGENT      where it listens: an address,
##!   MGMT_NODE_PORT       and a port, as 2151/tcp or 2151; without these two there is no connection
##!   MGMT_NODE_TOKEN      what shows it that this is the node it started
##!   MGMT_NODE_HEARTBEAT  seconds between heartbeats; 5 if not set
##!   MGMT_NODE_LOG_QUEUE  where loggers move rotated logs, on the file system of their directory
##!   MGMT_NODE_TRACE_END  if not empty, a trace is read once the cluster is there, and the node ends with it
##!
##! An error in zeek_init would end Zeek, so there is none: what is wrong in the environment is a warning.

@load base/frameworks/cluster

module MgmtNode;

export {
	## From the agent to nodes, and from nodes to the agent. Two, so that nodes do not hear each other.
	const topic_nodes = "@NODE_TOPIC@-link/nodes" &redef;
	const topic_agent = "@NODE_TOPIC@-link/agent" &redef;

	## The version of what follows in this block.
	const protocol = 1;

	## As Management::Result.
	type Reply: record {
		reqid: string;
		success: bool &default=T;
		instance: string &optional;
		data: any &optional;
		error: string &optional;
		node: string &optional;
	};

	type Beat: record {
		## Counts them, from 1.
		number: count;
		## How long it is until the next one.
		every: interval;
		## Where packets come from: none, live, trace, or held, a trace that is not read yet.
		source: string;
		network_time: time;
		## Of packets, as get_net_stats() has them.
		received: count;
		dropped: count;
		link: count;
		bytes: count;
		## Connections that are tracked.
		connections: count;
		## Events that wait.
		events: count;
		## The other nodes of the cluster that this one is connected with, as far as its role has it connect.
		peers: vector of string;
	};

	## From nodes.
	global hello: event(node: string, pid: count, version: string, role: string, version_of_protocol: count, token: string);
	global heartbeat: event(node: string, beat: Beat);
	global trace_done: event(node: string, path: string);
	global bye: event(node: string);
	## A log is not written any more, for this reason; the node runs on, and other logs are written.
	global cannot_write: event(node: string, reason: string);
	global reply: event(reqid: string, result: Reply);

	## To nodes: to those in the set, or to all if it is empty. The first is answered by hello, those with an ID by reply.
	global probe: event(only: set[string]);
	global get_id: event(reqid: string, id: string, only: set[string]);
	global status: event(reqid: string, only: set[string]);
	## Read the trace, although the cluster is not there.
	global read_on: event(only: set[string]);
	## Have the layout contain another worker, which is about to be started; or no more one that has ended.
	global add_node: event(reqid: string, name: string, ip: addr, manager: string, only: set[string]);
	global remove_node: event(reqid: string, name: string, only: set[string]);

	# For node-layout.zeek.
	global is_meant: function(only: set[string]): bool;
	global publish_outcome: function(reqid: string, problem: string);
}

@load ./node-layout

# ---- Rotated logs ----

# As a logger of Zeek's Supervisor has it. That comes with the scripts of the role, so these have to be loaded first.
@if ( ! Supervisor::is_supervised() && Cluster::is_enabled() )
@if ( getenv("MGMT_NODE_LOG_QUEUE") != "" && ( Cluster::local_node_type() == Cluster::LOGGER || ( Cluster::manager_is_logger && Cluster::local_node_type() == Cluster::MANAGER ) ) )
@load base/frameworks/cluster/nodes/logger
redef Log::default_rotation_dir = getenv("MGMT_NODE_LOG_QUEUE");
redef Log::rotation_format_func = archiver_rotation_format_func;
redef LogAscii::enable_leftover_log_rotation = T;
@endif
# Its default is one of zeekctl's commands, which need not be there.
redef Log::default_rotation_postprocessor_cmd = "";
@endif

# ---- What a node knows of itself ----

# The token is no variable: get_id would tell it.
const agent_address = getenv("MGMT_NODE_AGENT");
global agent_port = 0/tcp;
global beat_every = 5sec;
global linked = F;
global held = F;
global trace_is_done = F;
global unwritten = "";
global number = 0;
global last_beat = double_to_time(0.0);

function is_meant(only: set[string]): bool
	{
	return |only| == 0 || Cluster::node in only;
	}

function source(): string
	{
	if ( held )
		return "held";

	# With --pseudo-realtime both hold.
	if ( reading_traces() )
		return "trace";

	return reading_live_traffic() ? "live" : "none";
	}

function beat(): Beat
	{
	local net = get_net_stats();
	local conns = get_conn_stats();
	local events = get_event_stats();
	local b = Beat($number=number, $every=beat_every, $source=source(), $network_time=network_time(),
	               $received=net$pkts_recvd, $dropped=net$pkts_dropped, $link=net$pkts_link, $bytes=net$bytes_recvd,
	               $connections=conns$num_tcp_conns + conns$num_udp_conns + conns$num_icmp_conns,
	               $events=events$queued - events$dispatched, $peers=vector());

	# By the ID and not by node_up and node_down: with ZeroMQ a manager may be back without node_up.
	for ( name, node in Cluster::nodes )
		if ( name != Cluster::node && node?$id )
			b$peers += name;

	return b;
	}

function publish_reply(r: Reply)
	{
@ifdef ( Broker::publish )
	if ( linked )
		Broker::publish(topic_agent, MgmtNode::reply, r$reqid, r);
@endif
	}

function publish_outcome(reqid: string, problem: string)
	{
	local r = Reply($reqid=reqid, $success=problem == "", $node=Cluster::node);

	if ( problem != "" )
		r$error = problem;

	publish_reply(r);
	}

# ---- The link ----

@ifdef ( Broker::peer )

function send_beat()
	{
	if ( ! linked )
		return;

	last_beat = current_time();
	++number;
	Broker::publish(topic_agent, MgmtNode::heartbeat, Cluster::node, beat());
	}

function say_hello()
	{
	if ( ! linked )
		return;

	local role = Cluster::is_enabled() ? cat(Cluster::local_node_type()) : "";
	Broker::publish(topic_agent, MgmtNode::hello, Cluster::node, getpid(), zeek_version(), role, protocol, getenv("MGMT_NODE_TOKEN"));
	send_beat();

	# The agent may have missed it.
	if ( trace_is_done )
		Broker::publish(topic_agent, MgmtNode::trace_done, Cluster::node, "");

	if ( unwritten != "" )
		Broker::publish(topic_agent, MgmtNode::cannot_write, Cluster::node, unwritten);
	}

# Timers run on network time. That of a trace may go slower than the clock, so there are more of them, or much faster. While a trace is
# held, and after its end, it stands still and there are no heartbeats.
event MgmtNode::tick()
	{
	if ( current_time() - last_beat >= beat_every * 0.9 )
		send_beat();

	schedule ( reading_traces() ? beat_every / 10.0 : beat_every ) { MgmtNode::tick() };
	}

# How Broker shows a peer that it was told to connect to.
function is_agent(peer: Broker::EndpointInfo): bool
	{
	return agent_port != 0/tcp && peer?$network && peer$network$address == agent_address && peer$network$bound_port == agent_port;
	}

event zeek_init() &priority=-20
	{
	# Where Broker keeps tables, if it does. As Zeek's script for nodes.
	if ( Broker::table_store_db_directory != "" )
		mkdir(Broker::table_store_db_directory);

	# zeekctl's way to say that this is only a check.
	if ( agent_address == "" || getenv("ZEEKCTL_CHECK_CONFIG") != "" )
		return;

	local digits = split_string1(getenv("MGMT_NODE_PORT"), /\//)[0];

	# to_port is an error if it is not one.
	if ( digits != /[0-9]{1,5}/ || to_count(digits) == 0 || to_count(digits) > 65535 )
		{
		Reporter::warning(fmt("no connection to mgmt-agent: MGMT_NODE_PORT is no port: \"%s\"", getenv("MGMT_NODE_PORT")));
		return;
		}

	agent_port = count_to_port(to_count(digits), tcp);
	local seconds = getenv("MGMT_NODE_HEARTBEAT");

	if ( seconds == /[0-9]{1,6}(\.[0-9]{1,6})?/ && to_double(seconds) > 0.0 )
		beat_every = double_to_interval(to_double(seconds));
	else if ( seconds != "" )
		Reporter::warning(fmt("MGMT_NODE_HEARTBEAT is no number of seconds: \"%s\"", seconds));

	Broker::subscribe(topic_nodes);
	# Zeek writes a line for each attempt that fails.
	Broker::peer(agent_address, agent_port, 1sec);
	schedule beat_every { MgmtNode::tick() };
	}

event Broker::peer_added(endpoint: Broker::EndpointInfo, msg: string)
	{
	if ( is_agent(endpoint) )
		{
		linked = T;
		say_hello();
		}
	}

event Broker::peer_lost(endpoint: Broker::EndpointInfo, msg: string)
	{
	if ( is_agent(endpoint) )
		linked = F;
	}

event Broker::peer_removed(endpoint: Broker::EndpointInfo, msg: string)
	{
	if ( is_agent(endpoint) )
		linked = F;
	}

event MgmtNode::probe(only: set[string])
	{
	if ( is_meant(only) )
		say_hello();
	}

# A thread that cannot write its log says so, and ends; what comes for it later is lost. The first reason is enough.
event reporter_error(t: time, msg: string, location: string)
	{
	if ( unwritten != "" || /\/Log::WRITER_/ !in msg )
		return;

	unwritten = msg;

	if ( linked )
		Broker::publish(topic_agent, MgmtNode::cannot_write, Cluster::node, unwritten);
	}

event zeek_done() &priority=-20
	{
	if ( linked )
		Broker::publish(topic_agent, MgmtNode::bye, Cluster::node);
	}

@endif

event MgmtNode::status(reqid: string, only: set[string])
	{
	if ( is_meant(only) )
		publish_reply(Reply($reqid=reqid, $data=to_json(beat()), $node=Cluster::node));
	}

event MgmtNode::get_id(reqid: string, id: string, only: set[string])
	{
	if ( ! is_meant(only) )
		return;

	local value: any = lookup_ID(id);
	local text = type_name(value) == "string" ? cat(value) : "";

	# How lookup_ID says that it has nothing.
	if ( text == "<unknown id>" || text == "<no ID value>" )
		publish_outcome(reqid, text[1:-1]);
	else
		publish_reply(Reply($reqid=reqid, $data=to_json(value), $node=Cluster::node));
	}

# ---- A trace ----

# What a worker is connected with before it reads a trace. Of other workers it need not know.
function is_cluster_there(): bool
	{
	for ( name, node in Cluster::nodes )
		if ( name != Cluster::node && ! node?$id
		     && ( node$node_type == Cluster::LOGGER || node$node_type == Cluster::MANAGER || node$node_type == Cluster::PROXY ) )
			return F;

	return T;
	}

function read_trace()
	{
	if ( ! held )
		return;

	held = F;
	continue_processing();
@ifdef ( Broker::peer )
	send_beat();
@endif
	}

event zeek_init() &priority=-25
	{
	if ( getenv("MGMT_NODE_TRACE_END") == "" || ! reading_traces() || is_cluster_there() )
		return;

	held = T;
	suspend_processing();
	}

event Cluster::node_up(name: string, id: string) &priority=-20
	{
	if ( held && is_cluster_there() )
		read_trace();
	}

event MgmtNode::read_on(only: set[string])
	{
	if ( is_meant(only) )
		read_trace();
	}

event Pcap::file_done(path: string)
	{
	trace_is_done = T;
@ifdef ( Broker::peer )
	if ( linked )
		Broker::publish(topic_agent, MgmtNode::trace_done, Cluster::node, path);
@endif

	if ( getenv("MGMT_NODE_TRACE_END") != "" )
		terminate();
	}
