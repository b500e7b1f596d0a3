# Workers count in a log and in a SumStats: what is lost on the way, and who takes part, can be seen at the logger.

@load base/frameworks/cluster
@load base/frameworks/sumstats

module Counted;

export {
	redef enum Log::ID += { LINES, SUMS };
	type Line: record { node: string &log; process: count &log; number: count &log; };
	type Sum: record { workers: count &log; };
}

global number = 0;

event Counted::next()
	{
	++number;
	Log::write(LINES, Line($node=Cluster::node, $process=getpid(), $number=number));
	SumStats::observe("workers", SumStats::Key($str="all"), SumStats::Observation($str=Cluster::node));
	schedule 50msec { Counted::next() };
	}

event zeek_init()
	{
	Log::create_stream(LINES, [$columns=Line, $path="counted"]);
	Log::create_stream(SUMS, [$columns=Sum, $path="sums"]);
	local reducer = SumStats::Reducer($stream="workers", $apply=set(SumStats::UNIQUE));
	SumStats::create(SumStats::SumStat($name="workers", $epoch=2sec, $reducers=set(reducer),
		$epoch_result(ts: time, key: SumStats::Key, result: SumStats::Result) =
			{ Log::write(SUMS, Sum($workers=result["workers"]$unique)); }));

	if ( Cluster::local_node_type() == Cluster::WORKER )
		schedule 1sec { Counted::next() };
	}
