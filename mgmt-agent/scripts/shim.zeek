##! Keeps the output of nodes, in files and for the agent.
##!
##! mgmt-agent writes this file for the Supervisor of a Zeek that has no policy/frameworks/management/supervisor. Names,
##! topic and the order of record fields are those of Zeek 9.0's framework: they are what travels.

module Management;

export {
	type NodeOutputs: record {
		stdout: string;
		stderr: string;
	};
}

module Management::Supervisor::API;

export {
	global notify_node_exit: event(node: string, outputs: Management::NodeOutputs);
}

module Management::Supervisor;

export {
	## Where the agent hears of nodes.
	const topic_prefix = "@SHIM_TOPIC@" &redef;
	## How many lines of each output are kept for the agent.
	const output_max_lines = 100 &redef;
}

type Output: record {
	lines: vector of string &default=vector();
	out: file &optional;
};

global outputs: table[string] of Output;
global errors: table[string] of Output;

function tail(output: Output): string
	{
	local n = |output$lines|;
	local text = "";

	for ( i in output$lines )
		{
		if ( i + output_max_lines < n )
			next;
		text += text == "" ? output$lines[i] : "\n" + output$lines[i];
		}

	return text;
	}

function keep(kept: table[string] of Output, node: string, line: string)
	{
	if ( node !in kept )
		kept[node] = Output();

	local output = kept[node];
	output$lines += line;

	# Cut now and then rather than at each line.
	if ( |output$lines| >= 2 * output_max_lines )
		{
		local last: vector of string = vector();
		for ( i in output$lines )
			if ( i + output_max_lines >= |output$lines| )
				last += output$lines[i];
		output$lines = last;
		}

	if ( output?$out )
		{
		print output$out, line;
		flush_all();
		}
	}

hook Supervisor::stdout_hook(node: string, msg: string)
	{
	keep(outputs, node, msg);
	break;
	}

hook Supervisor::stderr_hook(node: string, msg: string)
	{
	keep(errors, node, msg);
	break;
	}

function begin(kept: table[string] of Output, node: string, name: string)
	{
	local output = Output();
	local status = Supervisor::status(node);

	if ( node in status$nodes && status$nodes[node]$node?$directory )
		output$out = open(status$nodes[node]$node$directory + "/" + name);

	if ( node in kept && kept[node]?$out )
		close(kept[node]$out);

	kept[node] = output;
	}

event Supervisor::node_status(node: string, pid: count)
	{
	local before = Management::NodeOutputs(
	    $stdout=node in outputs ? tail(outputs[node]) : "",
	    $stderr=node in errors ? tail(errors[node]) : "");

	if ( before$stdout != "" || before$stderr != "" )
		Broker::publish(topic_prefix, Management::Supervisor::API::notify_node_exit, node, before);

	begin(outputs, node, "stdout");
	begin(errors, node, "stderr");
	}
