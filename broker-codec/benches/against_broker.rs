//! The same values through this crate and through Broker 1.4, if Debian's libbroker-dev and libcaf-dev are installed.
//!
//! Both take the fastest pass over all values of an input; see `cpp/broker.cc`. Broker 1.4 has no JSON.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod support;

use std::{
    env,
    error::Error,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use broker_codec::{Data, binary};
use bytes::{Bytes, BytesMut};
use support::Input;

/// How long each figure is measured for.
const TIME: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know whether it runs.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let Some(broker) = compile()? else {
        println!("libbroker-dev and libcaf-dev are not installed: no comparison with Broker 1.4");
        return Ok(());
    };
    println!("messages per second                  ours   Broker 1.4   ratio");
    for input in Input::ALL {
        let mut payloads = input.payloads();
        let all = payloads.len();
        payloads.retain(|payload| binary::decode(payload).is_ok_and(|data| suits_broker_1_4(&data)));
        let (alike, [broker_decode, broker_encode]) = run(&broker, &payloads)?;
        let mut alike = alike.bytes().map(|flag| flag == b'1');
        payloads.retain(|_| alike.next() == Some(true));
        let values = payloads
            .iter()
            .map(|payload| binary::decode(payload))
            .collect::<std::result::Result<Vec<Data>, _>>()?;
        let decode = fastest(&payloads, |payload| binary::decode(payload));
        let encode = fastest(&values, |data| {
            let mut bytes = BytesMut::with_capacity(256);
            binary::encode(data, &mut bytes).map(|()| bytes)
        });
        println!("{input:?}: {} values of {all}", payloads.len());
        for (what, ours, theirs) in [
            ("decode", decode, broker_decode),
            ("encode", encode, broker_encode),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let per_second = |pass: Duration| payloads.len() as f64 / pass.as_secs_f64();
            let (ours, theirs) = (per_second(ours), per_second(theirs));
            println!(
                "{input:<8?} {what:<16} {ours:>15.0} {theirs:>12.0} {:>7.2}",
                ours / theirs
            );
        }
    }
    Ok(())
}

/// Whether CAF 0.17 can pack each real: for infinities its loop never ends. The corpus has some, recorded messages have none.
fn suits_broker_1_4(data: &Data) -> bool {
    match data {
        Data::Real(value) => value.0.is_normal() || value.0 == 0.0,
        Data::Set(elements) => elements.iter().all(suits_broker_1_4),
        Data::Vector(elements) => elements.iter().all(suits_broker_1_4),
        Data::Table(entries) => entries
            .iter()
            .all(|(key, value)| suits_broker_1_4(key) && suits_broker_1_4(value)),
        _ => true,
    }
}

fn fastest<T, R>(inputs: &[T], work: impl Fn(&T) -> R) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let now = Instant::now;
    let end = now() + TIME;
    let mut best = Duration::MAX;
    while now() < end {
        let start = now();
        for input in inputs {
            divan::black_box(work(divan::black_box(input)));
        }
        best = best.min(start.elapsed());
    }
    best
}

/// The program that uses Broker, if it can be compiled here.
fn compile() -> Result<Option<PathBuf>> {
    if !Path::new("/usr/include/broker/data.hh").exists()
        || !Path::new("/usr/include/caf/binary_serializer.hpp").exists()
    {
        return Ok(None);
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cpp/broker.cc");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broker-1.4");
    let status = Command::new("c++")
        .args(["-std=c++17", "-O3", "-o"])
        .args([&program, &source])
        .args(["-lbroker", "-lcaf_core"])
        .status()?;
    if !status.success() {
        return Err("the program that uses Broker does not compile".into());
    }
    Ok(Some(program))
}

/// A `1` for each payload that Broker writes as it reads it; and how long it takes for a pass of decoding and one of encoding of these.
fn run(program: &Path, payloads: &[Bytes]) -> Result<(String, [Duration; 2])> {
    let mut child = Command::new(program)
        .arg(TIME.as_secs().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    // The program answers when it has read all.
    for payload in payloads {
        writeln!(input, "{}", hex::encode(payload))?;
    }
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("the program that uses Broker failed".into());
    }
    let output = String::from_utf8(output.stdout)?;
    let mut lines = output.lines();
    let alike = lines.next().ok_or("no output")?.to_owned();
    let passes = lines
        .map(|nanos| nanos.parse().map(Duration::from_nanos))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let passes = passes.try_into().map_err(|_| "two figures were expected")?;
    Ok((alike, passes))
}
