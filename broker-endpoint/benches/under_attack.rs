//! How good peers fare while an endpoint is attacked: round trips before, during and after, and the endpoint's memory.
//!
//! ```text
//! cargo bench -p broker-endpoint --features jemalloc --bench under_attack -- [CONNECTIONS [SECONDS [off|anonymous [many|one]]]]
//! cargo bench -p broker-endpoint --features jemalloc --bench under_attack -- behind-one-address [off|anonymous]
//! ```
//!
//! The endpoint, the good peers and the attacker are three processes on this machine, so they share its processors: with
//! few of them, what is measured is also how much of them the attacker takes. The attacker keeps that many connections
//! open, from many addresses or from one, and opens a new one for each that is closed. Every fiftieth becomes a peer that
//! subscribes to everything and never reads. The others say nothing, stop in the middle of the handshake, send garbage, or
//! announce huge messages.
//!
//! Meanwhile new peers connect one after the other, from an address of their own and then from one of the attacker's: the time
//! is until each is a peer. The program fails if round trips take three times as long as undisturbed, or new peers from another
//! address more than 200 ms (medians).
//!
//! `behind-one-address` has 400 peers connect one after the other and then 400 at once from one address. It fails if these take
//! longer than one and a half times the processor time, of both sides, of the former.

#![expect(clippy::print_stdout, reason = "the results of a program")]

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use broker_codec::{Data, Payload, Topic};
use broker_endpoint::{
    Endpoint, EndpointConfig, EndpointEvent,
    tls::{Connection, TlsConfig, TlsContext, Transport},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    task::JoinSet,
    time::{sleep, timeout},
};

// As the daemons that operators build.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Good peers, each with one request under way.
const PEERS: usize = 10;

/// The size of what a good peer sends and gets back, in bytes: a usual event.
const REQUEST_LEN: usize = 300;

/// The size of what the endpoint publishes to all for every request, in bytes: it makes peers that never read matter.
const NEWS_LEN: usize = 2000;

/// The attacker opens another connection this long after one was closed.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// Where new peers come from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The attacker's only address, or one of them.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// A peer's hello up to its id, and what follows. With the largest ids, so that the endpoint is the originator.
const HELLO: [&[u8]; 2] = [b"\0\0\0\x17\x06ZEEK\xff\xff\xff\xff\xff\xff\x4f\xff", b"\x01\x01"];

/// How long a new peer waits in an attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// As many peers connect from one address.
const BEHIND_ONE_ADDRESS: u64 = 400;

/// How long after the attack the memory is looked at again: allocators give it back some time later.
const REST: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    raise_file_limit()?;
    // cargo bench adds an argument of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|text| text != "--bench").collect();
    let number = |index: usize, default: u64| -> Result<u64> {
        Ok(arguments
            .get(index)
            .map(|text| text.parse())
            .transpose()?
            .unwrap_or(default))
    };
    let text = |index: usize| arguments.get(index).map_or("", String::as_str);
    let runtime = Runtime::new()?;
    match text(0) {
        "serve" => runtime.block_on(serve(tls(text(1)))),
        "behind-one-address" => runtime.block_on(behind_one_address(text(1))),
        "attack" => runtime.block_on(attack(text(1).parse()?, number(2, 0)?, text(3) == "one")),
        _ => {
            let seconds = Duration::from_secs(number(1, 10)?);
            runtime.block_on(measure(number(0, 10_000)?, seconds, text(2), text(3)))
        }
    }
}

fn tls(name: &str) -> TlsConfig {
    match name {
        "anonymous" => TlsConfig::Anonymous,
        _ => TlsConfig::Off,
    }
}

fn raise_file_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(())
}

fn start(mode: &str, arguments: &[&str]) -> Result<Child> {
    Ok(Command::new(env::current_exe()?)
        .arg(mode)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

fn topic(text: &str) -> Result<Topic> {
    Ok(text.try_into()?)
}

/// The endpoint: sends every request back, and news to all peers. Ends with its parent.
async fn serve(tls: TlsConfig) -> Result<()> {
    let mut config = EndpointConfig::default();
    config.tls = tls;
    config.subscriptions = vec![topic("request")?];
    let mut endpoint = Endpoint::start(config)?;
    let handle = endpoint.handle();
    let addresses = handle.listen("127.0.0.1", 0).await?;
    println!("{}", addresses[0]);
    let (news, reply) = (topic("news")?, topic("reply")?);
    let text = Data::String("n".repeat(NEWS_LEN).as_str().into());
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    let serve = async {
        while let Some(event) = endpoint.recv().await {
            if let EndpointEvent::Message(message) = event {
                let payload = Payload::of(&message.data)?;
                handle.publish_to(message.peer, reply.clone(), payload).await?;
                handle.publish(news.clone(), &text).await?;
            }
        }
        Result::Ok(())
    };
    tokio::select! {
        result = serve => result,
        _ = parent => {
            println!("{:?}", handle.counters());
            Ok(())
        }
    }
}

/// Keeps bad connections open until its parent ends it.
async fn attack(address: SocketAddr, connections: u64, from_one: bool) -> Result<()> {
    let mut attackers = JoinSet::new();
    for number in 0..connections {
        attackers.spawn(async move {
            loop {
                // Whatever happens to a bad connection, another one follows.
                let _ = bad_connection(address, number, from_one).await;
                sleep(REOPEN_PAUSE).await;
            }
        });
    }
    attackers.join_all().await;
    Ok(())
}

async fn bad_connection(address: SocketAddr, number: u64, from_one: bool) -> Result<()> {
    let [.., high, low] = number.to_be_bytes();
    // Some hundred addresses that no good peer has.
    let from = if from_one {
        ATTACKER
    } else {
        Ipv4Addr::new(127, 1, high, low % 16)
    };
    let mut stream = connect_from(from, address).await?;
    let mut hello = b"\0\0\0\x17\x06ZEEK".to_vec();
    hello.extend_from_slice(&number.to_be_bytes());
    hello.extend_from_slice(b"\x4e\xee\x8e\xee\xee\xee\xee\xff\x01\x01");
    match number % 50 {
        0 => return never_read(stream, &hello).await,
        1..=12 => {}
        13..=24 => stream.write_all(&hello).await?,
        25..=37 => stream.write_all(&[number.to_be_bytes()[7]; 500]).await?,
        _ => stream.write_all(b"\0\x0f\xff\xff\x0a\xff\xff\xff\x0f").await?,
    }
    let mut scratch = [0; 512];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // One address has enough ports for all of these only if they are chosen when connecting.
    SockRef::from(&socket).set_reuse_address(true)?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to).await?)
}

/// Becomes a peer that subscribes to everything, as far as ids permit: then nothing is read any more.
async fn never_read(mut stream: TcpStream, hello: &[u8]) -> Result<()> {
    let mut hello = hello.to_vec();
    // The largest ids, so that the endpoint is the originator.
    hello[9..13].copy_from_slice(&[0xff; 4]);
    stream.write_all(&hello).await?;
    // probe, version_select, and a filter with one topic of 7 bytes
    let mut scratch = [0; 9 + 26 + 14];
    stream.read_exact(&mut scratch).await?;
    stream.write_all(b"\0\0\0\x03\x0b\x01\0").await?;
    std::future::pending().await
}

/// Connects a good peer.
async fn connect(address: SocketAddr, tls: TlsConfig) -> Result<Endpoint> {
    let mut config = EndpointConfig::default();
    config.tls = tls;
    let mut peer = Endpoint::start(config)?;
    let retry = Some(Duration::from_millis(100));
    peer.handle().peer(address.into(), retry);
    loop {
        match timeout(Duration::from_secs(60), peer.recv()).await? {
            Some(EndpointEvent::PeerAdded(_)) => return Ok(peer),
            Some(_) => {}
            None => return Err("a good peer ended".into()),
        }
    }
}

/// Becomes a peer, from this address. Tries again as Zeek does.
async fn new_peer(
    number: u64,
    from: Ipv4Addr,
    to: SocketAddr,
    context: Option<&TlsContext>,
) -> Transport<TcpStream> {
    let protection = context.map_or(Connection::Plaintext, |context| Connection::Tls(context.clone()));
    let [hello, rest] = HELLO;
    let hello = [hello, &(number | 0xbfff << 48).to_be_bytes(), rest].concat();
    loop {
        let attempt = async {
            let stream = connect_from(from, to).await?;
            stream.set_nodelay(true)?;
            let mut stream = protection.connect(stream, ATTEMPT_TIMEOUT).await?;
            stream.write_all(&hello).await?;
            // probe, version_select, and a filter with one topic of 7 bytes
            let mut scratch = [0; 9 + 26 + 14];
            stream.read_exact(&mut scratch).await?;
            stream.write_all(b"\0\0\0\x02\x0b\0").await?;
            let mut ack = [0; 5];
            stream.read_exact(&mut ack).await?;
            Result::Ok(stream)
        };
        if let Ok(Ok(stream)) = timeout(ATTEMPT_TIMEOUT, attempt).await {
            return stream;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// New peers, one after the other, each of which leaves; returns how long each took, sorted.
async fn new_peers(
    from: Ipv4Addr,
    to: SocketAddr,
    context: Option<TlsContext>,
    period: Duration,
) -> Vec<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < period {
        let start = Instant::now();
        drop(new_peer(0, from, to, context.as_ref()).await);
        times.push(start.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    times.sort_unstable();
    times
}

/// The processor time that a process has taken, in units of 10 ms.
fn processor_time(process: &str) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name")?;
    // utime and stime are fields 14 and 15; the state is field 3.
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(
        10 * ticks.sum::<std::result::Result<u64, _>>()?,
    ))
}

async fn behind_one_address(mode: &str) -> Result<()> {
    let mut server = start("serve", &[mode])?;
    let mut output = BufReader::new(server.stdout.take().ok_or("piped")?).lines();
    let address: SocketAddr = output.next().ok_or("an address")??.parse()?;
    let context = TlsContext::new(&tls(mode))?;
    let taken = || Result::Ok([processor_time(&server.id().to_string())?, processor_time("self")?]);

    let before = taken()?;
    let mut peers = Vec::new();
    for number in 0..BEHIND_ONE_ADDRESS {
        peers.push(new_peer(number, ELSEWHERE, address, context.as_ref()).await);
    }
    let after = taken()?;
    let [endpoint, own] = [0, 1].map(|side| after[side].saturating_sub(before[side]));
    println!("one after the other: processor time {endpoint:?} of the endpoint, {own:?} of the peers");

    let began = Instant::now();
    let mut connecting = JoinSet::new();
    for number in 0..BEHIND_ONE_ADDRESS {
        let context = context.clone();
        let number = BEHIND_ONE_ADDRESS + number;
        connecting.spawn(async move { new_peer(number, ATTACKER, address, context.as_ref()).await });
    }
    peers.extend(connecting.join_all().await);
    let time = began.elapsed();
    let share = time.as_secs_f64() / (endpoint + own).as_secs_f64();
    println!("{BEHIND_ONE_ADDRESS} at once behind one address: {time:?}, {share:.2} of that processor time");
    drop(server.stdin.take());
    for line in output {
        println!("{}", line?);
    }
    server.wait()?;
    if share > 1.5 {
        return Err("peers behind one address take longer than 1.5 times their processor time".into());
    }
    Ok(())
}

/// Sends requests one after the other; returns how long each took.
async fn round_trips(peer: &mut Endpoint, period: Duration) -> Result<Vec<Duration>> {
    let request = Data::String("r".repeat(REQUEST_LEN).as_str().into());
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < period {
        let sent = Instant::now();
        peer.handle().publish(topic("request")?, &request).await?;
        loop {
            match peer.recv().await {
                Some(EndpointEvent::Message(message)) if message.topic == "reply" => break,
                Some(EndpointEvent::Message(_)) => {}
                other => return Err(format!("a good peer was disturbed: {other:?}").into()),
            }
        }
        times.push(sent.elapsed());
        // At the pace of events, not as fast as possible.
        sleep(Duration::from_millis(5)).await;
    }
    Ok(times)
}

async fn all_round_trips(peers: &mut [Endpoint], period: Duration) -> Result<Vec<Duration>> {
    let tasks = peers.iter_mut().map(|peer| round_trips(peer, period));
    let mut times = futures_util::future::try_join_all(tasks).await?.concat();
    times.sort_unstable();
    Ok(times)
}

/// The resident memory of a process, in KiB.
fn memory(process: &Child) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Prints a line; returns the median.
fn report(name: &str, times: &[Duration], process: &Child) -> Result<Duration> {
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list"
        )]
        let index = (times.len() as f64 * share) as usize;
        times.get(index).copied().unwrap_or_default()
    };
    println!(
        "{name:12} {:6} times, median {:?}, p99 {:?}, max {:?}, memory {} KiB",
        times.len(),
        at(0.5),
        at(0.99),
        times.last().copied().unwrap_or_default(),
        memory(process)?
    );
    Ok(at(0.5))
}

async fn measure(connections: u64, period: Duration, mode: &str, addresses: &str) -> Result<()> {
    let mut server = start("serve", &[mode])?;
    let mut output = BufReader::new(server.stdout.take().ok_or("piped")?).lines();
    let address: SocketAddr = output.next().ok_or("an address")??.parse()?;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(connect(address, tls(mode)).await?);
    }
    let undisturbed = report(
        "undisturbed",
        &all_round_trips(&mut peers, period).await?,
        &server,
    )?;

    let context = TlsContext::new(&tls(mode))?;
    let mut attacker = start(
        "attack",
        &[&address.to_string(), &connections.to_string(), addresses],
    )?;
    let elsewhere = tokio::spawn(new_peers(ELSEWHERE, address, context.clone(), period));
    let under_attack = report("attacked", &all_round_trips(&mut peers, period).await?, &server)?;
    let connected = report("new peers", &elsewhere.await?, &server)?;
    // From an address of the attacker's, who goes on.
    let same = new_peers(ATTACKER, address, context, period).await;
    report("from there", &same, &server)?;
    peers.push(connect(address, tls(mode)).await?);
    attacker.kill()?;
    attacker.wait()?;

    report("afterwards", &all_round_trips(&mut peers, period).await?, &server)?;
    sleep(REST).await;
    println!("memory after a rest {} KiB", memory(&server)?);
    drop(server.stdin.take());
    for line in output {
        println!("{}", line?);
    }
    server.wait()?;
    println!(
        "attacked : undisturbed {:.2}",
        under_attack.as_secs_f64() / undisturbed.as_secs_f64()
    );
    if under_attack >= 3 * undisturbed || connected > Duration::from_millis(200) {
        return Err("good peers are disturbed too much".into());
    }
    Ok(())
}
