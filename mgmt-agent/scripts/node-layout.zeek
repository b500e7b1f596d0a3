##! Has a cluster that runs take in another worker, or forget one, without a restart: the part of node-link.zeek that is about the layout.
##!
##! Cluster::nodes is constant, the table that it names is not. Functions of Zeek's pools that it does not export do the rest, therefore the
##! module. It is about workers only: of others, other nodes would have to know more than that they are there. An agent that changes the layout
##! here has to change the file as well, for the next start.

module Cluster;

@ifdef ( Cluster::init_pool_node )

event MgmtNode::add_node(reqid: string, name: string, ip: addr, manager: string, only: set[string])
	{
	if ( ! MgmtNode::is_meant(only) )
		return;

	local layout = Cluster::nodes;

	if ( name in layout )
		{
		MgmtNode::publish_outcome(reqid, fmt("node %s is in the layout already", name));
		return;
		}

	layout[name] = Cluster::Node($node_type=Cluster::WORKER, $ip=ip, $manager=manager);

	for ( i in registered_pools )
		{
		local spec = registered_pools[i]$spec;

		# Others have chosen their nodes at the start.
		if ( spec$node_type == Cluster::WORKER && ! spec$exclusive && ! spec?$max_nodes )
			init_pool_node(registered_pools[i], name);
		}

	MgmtNode::publish_outcome(reqid, "");
	}

function forget_in_pool(pool: Pool, name: string)
	{
	mark_pool_node_dead(pool, name);
	delete pool$nodes[name];
	local left: vector of PoolNode = vector();

	for ( i in pool$node_list )
		if ( pool$node_list[i]$name != name )
			left += pool$node_list[i];

	pool$node_list = left;
	# Places in that list.
	pool$rr_key_seq = RoundRobinTable();
	}

event MgmtNode::remove_node(reqid: string, name: string, only: set[string])
	{
	if ( ! MgmtNode::is_meant(only) )
		return;

	local layout = Cluster::nodes;
	local problem = "";

	if ( name !in layout || layout[name]$node_type != Cluster::WORKER )
		problem = fmt("no worker %s is in the layout", name);
	else if ( layout[name]?$id )
		problem = fmt("worker %s is still connected", name);

	if ( problem == "" )
		{
		for ( i in registered_pools )
			if ( name in registered_pools[i]$nodes )
				forget_in_pool(registered_pools[i], name);

		delete layout[name];
		}

	MgmtNode::publish_outcome(reqid, problem);
	}

@endif
