use super::*;

fn publisher() -> EntityId {
    EntityId {
        endpoint: EndpointId::from_bytes([0x11; 16]),
        object: 3,
    }
}

fn command(content: CommandContent) -> Command {
    Command {
        sequence: 5,
        sender: publisher(),
        receiver: EntityId::default(),
        content,
    }
}

/// Content by number, its bytes behind the number, and how it is printed. `P` is the publisher.
#[expect(clippy::too_many_lines, reason = "one entry for each command")]
fn vectors() -> Vec<(u8, &'static str, CommandContent, &'static str)> {
    use CommandContent as C;

    let key = || Data::Count(1);
    let value = || Data::Boolean(true);
    let publisher = publisher();
    let day = Some(Timespan(86_400_000_000_000));
    vec![
        (
            0,
            "020000000000000001 0101 01 00004e94914f0000 P",
            C::Put {
                key: key(),
                value: value(),
                expiry: day,
                publisher,
            },
            "put(1, T, *86400000000000ns, P)",
        ),
        (
            1,
            "020000000000000001 0101 00 P 0000000000000007 P",
            C::PutUnique {
                key: key(),
                value: value(),
                expiry: None,
                who: publisher,
                request: 7,
                publisher,
            },
            "put_unique(1, T, null, P, 7, P)",
        ),
        (
            2,
            "01 P 0000000000000007 P",
            C::PutUniqueResult {
                inserted: true,
                who: publisher,
                request: 7,
                publisher,
            },
            "put_unique_result(true, P, 7, P)",
        ),
        (
            3,
            "020000000000000001 P",
            C::Erase {
                key: key(),
                publisher,
            },
            "erase(1, P)",
        ),
        (
            4,
            "020000000000000001 P",
            C::Expire {
                key: key(),
                publisher,
            },
            "expire(1, P)",
        ),
        (
            5,
            "020000000000000001 0101 0c 00 P",
            C::Add {
                key: key(),
                value: value(),
                init_type: 12,
                expiry: None,
                publisher,
            },
            "add(1, T, 12, null, P)",
        ),
        (
            6,
            "020000000000000001 0101 00 P",
            C::Subtract {
                key: key(),
                value: value(),
                expiry: None,
                publisher,
            },
            "subtract(1, T, null, P)",
        ),
        (7, "P", C::Clear { publisher }, "clear(P)"),
        (
            8,
            "0000000000000001 0005",
            C::AttachWriter {
                offset: 1,
                interval: 5,
            },
            "attach_writer(1, 5)",
        ),
        (
            9,
            "0000000000000001",
            C::Keepalive { sequence: 1 },
            "keepalive(1)",
        ),
        (
            10,
            "0000000000000001",
            C::CumulativeAck { sequence: 1 },
            "cumulative_ack(1)",
        ),
        (
            11,
            "02 0000000000000001 0000000000000002",
            C::Nack {
                sequences: vec![1, 2],
            },
            "nack([1, 2])",
        ),
        (
            12,
            "0000000000000001 0005 01 020000000000000001 0101",
            C::AckClone {
                offset: 1,
                interval: 5,
                state: vec![(key(), value())],
            },
            "ack_clone(1, 5, {1 -> T})",
        ),
        (
            13,
            "0000000000000001",
            C::RetransmitFailed { sequence: 1 },
            "retransmit_failed(1)",
        ),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let publisher = format!("{}{:016x}", "11".repeat(16), 3);
    hex::decode(hex.replace('P', &publisher).replace(' ', "")).unwrap()
}

fn payload(index: u8, content: &str) -> Vec<u8> {
    bytes(&format!(
        "0000000000000005 P {} {index:02x} {content}",
        "00".repeat(24)
    ))
}

#[test]
fn each_command_reads_and_writes() {
    for (index, hex, content, text) in vectors() {
        let payload = payload(index, hex);
        let command = command(content);
        assert_eq!(Command::decode(&payload).as_ref(), Ok(&command));
        assert_eq!(command.encode().unwrap(), payload);
        let text = text.replace('P', &publisher().to_string());
        assert_eq!(command.content.to_string(), text);
        for len in 0..payload.len() {
            assert!(
                Command::decode(&payload[..len]).is_err(),
                "{text}: {len} bytes are enough"
            );
        }
    }
}

#[test]
fn errors_tell_what_and_where() {
    for (payload, error) in [
        (payload(14, ""), "unknown command 14 at byte 56"),
        (
            payload(9, "00"),
            "malformed command: unexpected end of input at byte 57",
        ),
        (payload(9, "0000000000000001 00"), "command has 1 surplus bytes"),
        (
            payload(3, "0f"),
            "malformed value in command: unknown tag 0x0f at byte 57",
        ),
        (
            payload(3, "00 00"),
            "malformed command: unexpected end of input at byte 59",
        ),
        (
            payload(2, "02"),
            "malformed command: expected 0 or 1, found 2 at byte 57",
        ),
        (
            payload(11, "feffffff0f"),
            "malformed command: length 4294967294 exceeds the 0 remaining bytes at byte 57",
        ),
        (
            payload(12, "0000000000000001 0005 ffffffff0f 00"),
            "malformed value in command: unexpected end of input at byte 73",
        ),
    ] {
        assert_eq!(Command::decode(&payload).unwrap_err().to_string(), error);
    }
}
