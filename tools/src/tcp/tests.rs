use super::*;

fn client() -> SocketAddr {
    "10.0.0.1:40000".parse().unwrap()
}

fn server() -> SocketAddr {
    "10.0.0.2:2150".parse().unwrap()
}

fn segment(sequence: u32, payload: &'static [u8]) -> Segment {
    Segment {
        time: Duration::ZERO,
        source: client(),
        destination: server(),
        sequence,
        syn: false,
        ack: true,
        fin: false,
        rst: false,
        payload: Bytes::from_static(payload),
    }
}

fn syn(sequence: u32) -> Segment {
    Segment {
        syn: true,
        ack: false,
        ..segment(sequence, b"")
    }
}

fn fin(sequence: u32, payload: &'static [u8]) -> Segment {
    Segment {
        fin: true,
        ..segment(sequence, payload)
    }
}

fn from_server(segment: Segment) -> Segment {
    Segment {
        source: server(),
        destination: client(),
        ..segment
    }
}

/// What becomes of segments, a word or two each.
fn events(segments: Vec<Segment>) -> Vec<String> {
    let mut reassembler = Reassembler::new();
    let mut events: Vec<TcpEvent> = segments
        .into_iter()
        .flat_map(|segment| reassembler.push(segment))
        .collect();
    events.extend(reassembler.finish());
    let text = |TcpEvent { connection, kind, .. }| match kind {
        TcpEventKind::Opened {
            addresses,
            from_start,
        } => {
            let start = if from_start { "" } else { " in the middle" };
            format!("{connection} opened to {}{start}", addresses.server.port())
        }
        TcpEventKind::Data { from, bytes } => {
            format!("{connection} {from:?} {}", bytes.escape_ascii())
        }
        TcpEventKind::Gap { from, len } => format!("{connection} {from:?} gap {len}"),
        TcpEventKind::Closed { from, reset } => {
            let how = if reset { "reset" } else { "closed" };
            format!("{connection} {from:?} {how}")
        }
    };
    events.into_iter().map(text).collect()
}

#[test]
fn a_connection_from_beginning_to_end() {
    let answer = Segment {
        ack: true,
        ..syn(900)
    };
    assert_eq!(
        events(vec![
            syn(100),
            from_server(answer),
            segment(101, b"ab"),
            from_server(segment(901, b"xy")),
            fin(103, b"c"),
            from_server(fin(903, b"")),
        ]),
        [
            "0 opened to 2150",
            "0 Client ab",
            "0 Server xy",
            "0 Client c",
            "0 Client closed",
            "0 Server closed",
        ]
    );
}

#[test]
fn segments_may_come_twice_late_and_overlapping() {
    assert_eq!(
        events(vec![
            syn(100),
            syn(100),
            segment(103, b"cd"),
            segment(101, b"ab"),
            segment(101, b"ab"),
            segment(104, b"def"),
            segment(102, b"bcd"),
            fin(107, b""),
            fin(107, b""),
        ]),
        [
            "0 opened to 2150",
            "0 Client ab",
            "0 Client cd",
            "0 Client ef",
            "0 Client closed",
        ]
    );
}

#[test]
fn sequence_numbers_wrap() {
    assert_eq!(
        events(vec![
            syn(u32::MAX - 1),
            segment(u32::MAX, b"ab"),
            segment(1, b"cd"),
            segment(u32::MAX, b"abcdef"),
        ]),
        ["0 opened to 2150", "0 Client ab", "0 Client cd", "0 Client ef"]
    );
}

#[test]
fn missing_bytes_are_a_gap_when_the_capture_ends() {
    assert_eq!(
        events(vec![
            syn(100),
            segment(101, b"a"),
            segment(105, b"e"),
            fin(110, b"")
        ]),
        [
            "0 opened to 2150",
            "0 Client a",
            "0 Client gap 3",
            "0 Client e",
            "0 Client gap 4",
            "0 Client closed",
        ]
    );
}

#[test]
fn missing_bytes_are_a_gap_when_too_much_waits_for_them() {
    static MUCH: [u8; 1 << 20] = [b'.'; 1 << 20];
    let mut segments = vec![syn(0)];
    let mut sequence = 3;
    for _ in 0..=WAITING_MAX >> 20 {
        segments.push(segment(sequence, &MUCH));
        sequence += 1 << 20;
    }
    segments.push(segment(sequence, b"more"));
    let events = events(segments);
    assert_eq!(events[1], "0 Client gap 2");
    assert_eq!(events.last().unwrap(), "0 Client more");
    assert_eq!(events.len(), 2 + (WAITING_MAX >> 20) + 2);
}

#[test]
fn an_aborted_connection_is_told_once_with_what_was_waiting() {
    let reset = Segment {
        rst: true,
        ..segment(102, b"")
    };
    assert_eq!(
        events(vec![syn(100), segment(103, b"c"), reset.clone(), reset.clone()]),
        [
            "0 opened to 2150",
            "0 Client gap 2",
            "0 Client c",
            "0 Client reset"
        ]
    );
    // Its end was announced, and bytes before it are missing.
    assert_eq!(
        events(vec![syn(100), fin(110, b""), reset]),
        ["0 opened to 2150", "0 Client gap 9", "0 Client closed"]
    );
}

#[test]
fn the_same_ports_may_be_used_again() {
    assert_eq!(
        events(vec![
            syn(100),
            segment(101, b"a"),
            fin(102, b""),
            syn(5000),
            segment(5001, b"b"),
        ]),
        [
            "0 opened to 2150",
            "0 Client a",
            "0 Client closed",
            "1 opened to 2150",
            "1 Client b",
        ]
    );
}

#[test]
fn in_the_middle_the_smaller_port_is_the_servers() {
    assert_eq!(
        events(vec![
            from_server(segment(7, b"x")),
            segment(9, b"a"),
            from_server(segment(8, b"y"))
        ]),
        [
            "0 opened to 2150 in the middle",
            "0 Server x",
            "0 Client a",
            "0 Server y"
        ]
    );
}
