//! What each message does in each state of the handshake, as a committed table.

use std::{fmt::Write as _, time::Duration};

use broker_codec::{
    EndpointId, ErrorCode, Filter, Topic,
    data::ZeekString,
    handshake::{
        Admission, Announcement, Awaited, DropConn, Handshake, Hello, Message, Output, Refusal, Role,
        VersionSelect,
    },
};

use expect_test::expect_file;

use crate::support::workspace_root;

const DEADLINE: Duration = Duration::from_secs(10);

const fn id(byte: u8) -> EndpointId {
    EndpointId::from_bytes([byte; 16])
}

const SMALLER: EndpointId = id(0x11);
const OWN: EndpointId = id(0x77);
const LARGER: EndpointId = id(0xee);

/// How each state is reached.
fn states() -> Vec<Handshake> {
    let begin = |role: Role| Handshake::new(role, OWN, DEADLINE);
    let after = |mut handshake: Handshake, messages: &[Message]| {
        for message in messages {
            handshake.handle(message.clone());
            handshake.admit(proceed());
        }
        handshake
    };
    let mut originator_asks = begin(Role::Acceptor);
    originator_asks.handle(hello(LARGER));
    let mut responder_asks = begin(Role::Connector);
    responder_asks.handle(version_select(SMALLER));
    let connector = || begin(Role::Connector);
    let acceptor = || begin(Role::Acceptor);
    vec![
        connector(),
        acceptor(),
        after(acceptor(), &[hello(SMALLER)]),
        originator_asks,
        responder_asks,
        after(acceptor(), &[hello(LARGER)]),
        after(connector(), &[version_select(SMALLER)]),
        after(connector(), &[version_select(SMALLER), syn()]),
        after(acceptor(), &[hello(LARGER), syn_ack()]),
        after(connector(), &[hello(OWN)]),
    ]
}

fn hello(sender: EndpointId) -> Message {
    Message::Hello(Hello::new(sender))
}

fn version_select(sender: EndpointId) -> Message {
    Message::VersionSelect(VersionSelect::new(sender))
}

fn filter() -> Vec<Topic> {
    vec![Topic::from_static("zeek/theirs")]
}

fn syn() -> Message {
    Message::OriginatorSyn(Announcement { filter: filter() })
}

fn syn_ack() -> Message {
    Message::ResponderSynAck(Announcement { filter: filter() })
}

fn drop_conn() -> Message {
    Message::DropConn(DropConn {
        sender: SMALLER,
        code: ErrorCode::REDUNDANT_CONNECTION,
        description: "redundant connection".into(),
    })
}

fn proceed() -> Admission {
    let filter: Filter = [Topic::from_static("zeek/ours")].into_iter().collect();
    Admission::Proceed { filter }
}

type Input = Box<dyn Fn(&mut Handshake)>;

fn inputs() -> Vec<(&'static str, Input)> {
    let message = |message: Message| -> Input { Box::new(move |machine| machine.handle(message.clone())) };
    let verdict = |verdict: Admission| -> Input { Box::new(move |machine| machine.admit(verdict.clone())) };
    vec![
        ("probe", message(Message::Probe)),
        ("hello, larger id", message(hello(LARGER))),
        ("hello, smaller id", message(hello(SMALLER))),
        ("hello, our id", message(hello(OWN))),
        ("hello, nil id", message(hello(EndpointId::NIL))),
        ("version_select", message(version_select(SMALLER))),
        ("version_select, our id", message(version_select(OWN))),
        ("drop_conn", message(drop_conn())),
        ("originator_syn", message(syn())),
        ("responder_syn_ack", message(syn_ack())),
        ("originator_ack", message(Message::OriginatorAck)),
        (
            "malformed frame",
            Box::new(|machine| machine.handle_frame(b"\xff")),
        ),
        ("verdict: proceed", verdict(proceed())),
        ("verdict: wait", verdict(Admission::Wait)),
        (
            "verdict: refuse",
            verdict(Admission::Refuse(Refusal::new(
                ErrorCode::REDUNDANT_CONNECTION,
                "redundant connection",
            ))),
        ),
        ("time-out", Box::new(|machine| machine.handle_timeout(DEADLINE))),
    ]
}

fn state(awaited: Awaited) -> String {
    match awaited {
        Awaited::NothingEstablished => "Established".to_owned(),
        Awaited::NothingClosed => "Closed".to_owned(),
        other => format!("{other:?}"),
    }
}

fn output(output: &Output) -> String {
    match output {
        Output::Send(Message::DropConn(DropConn {
            code, description, ..
        })) => {
            format!("drop_conn({}, {:?})", code.0, ZeekString::to_string(description))
        }
        Output::Send(message) => message.name().to_owned(),
        Output::Identified { side, .. } => format!("ask the router as {side:?}"),
        Output::Established { side, .. } => format!("established as {side:?}"),
        Output::Close(reason) => format!("close: {reason}"),
    }
}

#[test]
fn the_transition_table_is_the_committed_one() {
    let mut table = String::from(
        "What each input does in each state of a handshake: what is sent and asked, and the next state if it is another.\n\
         Written by the test `wire::table`; UPDATE_EXPECT=1 writes it anew. The states are those of `handshake::Awaited`,\n\
         the rules those of Broker's internal/connector.cc. Inputs that are not listed for a state are ignored in it.\n",
    );
    for machine in states() {
        let before = machine.awaited();
        writeln!(table, "\n{}", state(before)).unwrap();
        let mut listed = false;
        for (name, input) in inputs() {
            let mut machine = machine.clone();
            while machine.poll().is_some() {}
            input(&mut machine);
            let mut effects: Vec<String> = std::iter::from_fn(|| machine.poll())
                .map(|next| output(&next))
                .collect();
            let after = machine.awaited();
            if after != before {
                effects.push(format!("-> {}", state(after)));
            }
            if !effects.is_empty() {
                writeln!(table, "  {name:<23} {}", effects.join("; ")).unwrap();
                listed = true;
            }
        }
        if !listed {
            table.push_str("  (everything is ignored)\n");
        }
    }
    expect_file![workspace_root().join("tests/golden/handshake-table.txt")].assert_eq(&table);
}
