# What the test of the endpoint with a real Zeek talks to: it sends back what it gets, as values of its own in between.

@load base/frameworks/broker
@if ( Version::number >= 80100 )
@load policy/frameworks/cluster/backend/broker
@endif

redef exit_only_after_terminate = T;

module Live;

export {
	# Where to listen; 0 for any.
	const listen_port4 = 0/tcp &redef;

	# Where the test listens, if it does; 127.0.0.1 and ::1.
	const test_port4 = 0/tcp &redef;
	const test_port6 = 0/tcp &redef;
	# Who listens there connects to us as well.
	const test_port_both = 0/tcp &redef;

	type Colour: enum { RED, GREEN };

	type Inner: record {
		number: count;
		text: string &optional;
	};

	type Outer: record {
		inner: Inner;
		inners: vector of Inner;
		by_port: table[port] of set[addr];
		unset: interval &optional;
	};

	global doubled: function(n: count): count;

	# What the test says to Zeek, and Zeek to it.
	global leaves: event(who: string, b: bool, c: count, i: int, d: double, s: string, e: Colour, p: port, a: addr, n: subnet, t: time, v: interval);
	global containers: event(who: string, set1: set[addr], set2: set[string, port], tab1: table[string] of count, tab2: table[subnet, int] of Inner, vec: vector of double, r: Outer);
	global others: event(who: string, f: function(n: count): count, pat: pattern);
	global anything: event(who: string, x: any);
	global want_opaque: event(who: string);
	global opaque_value: event(o: opaque of cardinality);
	global estimate: event(who: string, o: opaque of cardinality);
	global estimated: event(d: double);
	global many: event(who: string, n: count);
	global one_of_many: event(n: count);
	global leave: event();
	global finish: event();
}

function doubled(n: count): count
	{
	return 2 * n;
	}

# Line by line, for the test that reads along.
function say(line: string)
	{
	print line;
	flush_all();
	}

function topic(who: string): string
	{
	return "live/test/" + who;
	}

event leaves(who: string, b: bool, c: count, i: int, d: double, s: string, e: Colour, p: port, a: addr, n: subnet, t: time, v: interval)
	{
	Broker::publish(topic(who), leaves, who, b, c, i, d, s, e, p, a, n, t, v);
	}

event containers(who: string, set1: set[addr], set2: set[string, port], tab1: table[string] of count, tab2: table[subnet, int] of Inner, vec: vector of double, r: Outer)
	{
	Broker::publish(topic(who), containers, who, set1, set2, tab1, tab2, vec, r);
	}

event others(who: string, f: function(n: count): count, pat: pattern)
	{
	say(fmt("others %s %s %d", who, pat == "xxabxx", f(21)));
	Broker::publish(topic(who), others, who, f, pat);
	}

# What comes as `any` has to be taken for something.
event anything(who: string, x: any)
	{
	if ( x is count )
		Broker::publish(topic(who), anything, who, x as count);
	else
		Broker::publish(topic(who), anything, who, x as Inner);
	}

event want_opaque(who: string)
	{
	local o = hll_cardinality_init(0.01, 0.95);
	for ( word in set("a", "b", "c") )
		hll_cardinality_add(o, word);
	Broker::publish(topic(who), opaque_value, o);
	}

event estimate(who: string, o: opaque of cardinality)
	{
	Broker::publish(topic(who), estimated, hll_cardinality_estimate(o));
	}

event many(who: string, n: count)
	{
	local i = 0;
	while ( i < n )
		{
		Broker::publish(topic(who), one_of_many, i);
		++i;
		}
	}

event leave()
	{
	Broker::unpeer("127.0.0.1", test_port4);
	}

event finish()
	{
	terminate();
	}

event Broker::peer_added(endpoint: Broker::EndpointInfo, msg: string)
	{
	say(fmt("added %s", endpoint$id));
	}

event Broker::peer_removed(endpoint: Broker::EndpointInfo, msg: string)
	{
	say(fmt("removed %s", endpoint$id));
	}

event Broker::peer_lost(endpoint: Broker::EndpointInfo, msg: string)
	{
	say(fmt("lost %s", endpoint$id));
	}

event zeek_init()
	{
	Broker::subscribe("live/zeek");
	say(fmt("listening %s %s", Broker::listen("127.0.0.1", listen_port4), Broker::listen("::1", 0/tcp)));
	if ( test_port4 != 0/tcp )
		Broker::peer("127.0.0.1", test_port4);
	if ( test_port6 != 0/tcp )
		Broker::peer("::1", test_port6);
	if ( test_port_both != 0/tcp )
		Broker::peer("127.0.0.1", test_port_both);
	}
