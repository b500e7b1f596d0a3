##! Makes a supervised Zeek process a node of a managed cluster: it connects to its agent, says that it is there, and
##! answers what the agent passes on.
##!
##! mgmt-agent writes this file, with its own coordinates, where the installed Zeek has no
##! policy/frameworks/management/node. Names, topics and the order of record fields are those of Zeek 9.0's framework:
##! they are what travels.

@ifdef ( Cluster::CLUSTER_BACKEND_NONE )
# Since Zeek 8.1 a cluster node needs a backend by name.
@if ( Cluster::backend == Cluster::CLUSTER_BACKEND_NONE )
@load policy/frameworks/cluster/backend/broker
@endif
@endif

module Management;

export {
	type Result: record {
		reqid: string;
		success: bool &default=T;
		instance: string &optional;
		data: any &optional;
		error: string &optional;
		node: string &optional;
	};
}

module Management::Node::API;

export {
	global node_dispatch_request: event(reqid: string, action: vector of string, nodes: set[string]);
	global node_dispatch_response: event(reqid: string, result: Management::Result);
	global notify_node_hello: event(node: string);
}

module Management::Node;

export {
	## Where the agent listens.
	const agent_address = "@AGENT_ADDRESS@" &redef;
	const agent_port = @AGENT_PORT@ &redef;
	## Between agent and nodes.
	const node_topic = "@NODE_TOPIC@" &redef;
}

redef Log::default_rotation_dir = "@LOG_QUEUE@";

event zeek_init()
	{
	if ( Broker::table_store_db_directory != "" )
		mkdir(Broker::table_store_db_directory);

	Broker::subscribe(node_topic);
	Broker::peer(agent_address, agent_port, 1sec);
	}

event Broker::peer_added(endpoint: Broker::EndpointInfo, msg: string)
	{
	if ( ! endpoint?$network )
		return;

	local info = endpoint$network;

	if ( info$address == agent_address && info$bound_port == agent_port )
		Broker::publish(node_topic, Management::Node::API::notify_node_hello, Cluster::node);
	}

function value_of(action: vector of string, result: Management::Result)
	{
	if ( |action| < 2 )
		{
		result$success = F;
		result$error = "get_id_value expects name of global identifier";
		return;
		}

	local value: any = lookup_ID(action[1]);
	local text = type_name(value) == "string" ? cat(value) : "";

	# How lookup_ID says that it has nothing.
	if ( text == "<unknown id>" || text == "<no ID value>" )
		{
		result$success = F;
		result$error = text[1:-1];
		return;
		}

	result$data = to_json(value);
	}

event Management::Node::API::node_dispatch_request(reqid: string, action: vector of string, nodes: set[string])
	{
	if ( |nodes| > 0 && Cluster::node !in nodes )
		return;

	local result = Management::Result($reqid=reqid, $node=Cluster::node);

	if ( |action| == 0 )
		{
		result$success = F;
		result$error = "no dispatch arguments provided";
		}
	else if ( action[0] == "get_id_value" )
		value_of(action, result);
	else
		{
		result$success = F;
		result$error = fmt("dispatch %s unknown", action[0]);
		}

	Broker::publish(node_topic, Management::Node::API::node_dispatch_response, reqid, result);
	}
