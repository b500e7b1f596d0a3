use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::data::{
    Address, Data, EnumValue, LENGTH_MAX, Port, Protocol, Real, Set, Subnet, Table, Timespan, Timestamp,
    ZeekString,
};

fn encoded(data: &Data) -> BytesMut {
    let mut out = BytesMut::new();
    encode(data, &mut out).unwrap();
    out
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn decoded(input: &[u8]) -> Result<Data, DecodeErrorKind> {
    decode(input).map_err(|error| error.kind)
}

/// Bytes of Broker's encoder.
fn examples() -> Vec<(&'static str, Data)> {
    let v4 = |octets: [u8; 4]| Address::from(std::net::IpAddr::from(octets));
    vec![
        ("00", Data::None),
        ("01 01", Data::Boolean(true)),
        ("02 00 00 00 00 00 00 00 2a", Data::Count(42)),
        ("03 ff ff ff ff ff ff ff f9", Data::Integer(-7)),
        ("04 3f f8 00 00 00 00 00 00", Data::Real(Real(1.5))),
        ("04 ff f0 00 00 00 00 00 00", Data::Real(Real(f64::INFINITY))),
        ("04 ff ff ff ff ff ff ff ff", Data::Real(Real(f64::NAN))),
        ("05 03 66 6f 6f", text("foo")),
        (
            "06 00 00 00 00 00 00 00 00 00 00 ff ff 0a 00 00 01",
            Data::Address(v4([10, 0, 0, 1])),
        ),
        (
            "07 00 00 00 00 00 00 00 00 00 00 ff ff 0a 00 00 00 68",
            Data::Subnet(Subnet {
                address: v4([10, 0, 0, 0]),
                length: 104,
            }),
        ),
        ("08 00 50 01", Data::Port(Port::tcp(80))),
        ("09 00 00 00 00 00 00 00 00", Data::Timestamp(Timestamp(0))),
        (
            "0a 00 00 00 01 2a 05 f2 00",
            Data::Timespan(Timespan(5_000_000_000)),
        ),
        ("0a ff ff ff ff ff ff ff ff", Data::Timespan(Timespan(-1))),
        (
            "0b 11 4d 61 6e 61 67 65 6d 65 6e 74 3a 3a 41 47 45 4e 54",
            Data::EnumValue(EnumValue("Management::AGENT".into())),
        ),
        (
            "0c 02 02 00 00 00 00 00 00 00 01 02 00 00 00 00 00 00 00 02",
            Data::Set(Set::from([Data::Count(1), Data::Count(2)])),
        ),
        (
            "0d 01 05 01 61 02 00 00 00 00 00 00 00 01",
            Data::Table(Table::try_from(vec![(text("a"), Data::Count(1))]).unwrap()),
        ),
        ("0e 00", Data::Vector(vec![])),
        (
            "0e 02 01 01 00",
            Data::Vector(vec![Data::Boolean(true), Data::None]),
        ),
        (
            "0e 03 05 0a 69 6e 73 74 61 6e 63 65 2d 31 06 00 00 00 00 00 00 00 00 00 00 ff ff 0a 00 00 01 00",
            Data::Vector(vec![
                text("instance-1"),
                Data::Address(v4([10, 0, 0, 1])),
                Data::None,
            ]),
        ),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.split_whitespace().collect::<String>()).unwrap()
}

#[test]
fn examples_of_broker_decode_and_encode() {
    for (hex, data) in examples() {
        assert_eq!(decoded(&bytes(hex)), Ok(data.clone()), "{hex}");
        assert_eq!(encoded(&data), bytes(hex));
    }
}

#[test]
fn every_strict_prefix_is_an_error() {
    for (hex, _) in examples() {
        let whole = bytes(hex);
        for length in 0..whole.len() {
            let error = decoded(&whole[..length]).unwrap_err();
            assert!(
                matches!(
                    error,
                    DecodeErrorKind::UnexpectedEnd
                        | DecodeErrorKind::LengthBeyondEnd(_)
                        | DecodeErrorKind::CountBeyondEnd(_)
                ),
                "{hex} {length}: {error}"
            );
        }
    }
}

#[test]
fn errors_say_what_and_where() {
    for case in "=> unexpected end of input at byte 0
        0f => unknown tag 0x0f at byte 0
        0e 01 ff => unknown tag 0xff at byte 2
        08 00 50 04 => unknown transport protocol 4 at byte 3
        00 00 => bytes after the value at byte 1
        05 fe ff ff ff 0f 61 => length 4294967294 exceeds the input at byte 6
        0e fe ff ff ff 0f 00 => count 4294967294 exceeds the input at byte 6
        0d 03 00 00 00 00 00 => count 3 exceeds the input at byte 2
        0c fe ff ff ff 7f 00 => malformed length at byte 1
        05 80 80 80 80 80 80 80 80 80 80 01 => malformed length at byte 1
        05 80 00 => malformed length at byte 1
        0e 01 0c 02 01 01 01 02 => duplicate in a set at byte 2
        0c 03 01 01 00 01 01 => duplicate in a set at byte 0
        0d 02 00 00 00 01 01 => duplicate in a table at byte 0
        0c 02 04 00 00 00 00 00 00 00 00 04 80 00 00 00 00 00 00 00 => duplicate in a set at byte 0
        0c 03 02 00 00 00 00 00 00 00 00 04 ff ff ff ff ff ff ff ff 04 3f f8 00 00 00 00 00 00 => duplicate in a set at byte 0"
    .lines()
    {
        let (hex, error) = case.split_once("=> ").expect("bytes and an error");
        let _ = decoded(&bytes(hex));
        assert_eq!(decode(&bytes(hex)).unwrap_err().to_string(), error, "{hex}");
    }
}

#[test]
fn depth_is_limited() {
    let nested = |levels| [[Kind::Vector.tag(), 1].repeat(levels), vec![Kind::None.tag()]].concat();
    let deepest = decoded(&nested(DEPTH_MAX)).unwrap();
    assert_eq!(encoded(&deepest), nested(DEPTH_MAX));
    assert_eq!(
        encode(&Data::Vector(vec![deepest]), &mut BytesMut::new()),
        Err(EncodeError::TooDeep)
    );
    assert_eq!(decoded(&nested(DEPTH_MAX + 1)), Err(DecodeErrorKind::TooDeep));
    assert_eq!(decoded(&nested(100_000)), Err(DecodeErrorKind::TooDeep));
}

#[test]
fn number_of_values_is_limited() {
    let list = |values: u32| {
        let mut bytes = BytesMut::from(&[Kind::Vector.tag()][..]);
        caf_bincode_compat::varbyte::encode(values, &mut bytes);
        bytes.resize(bytes.len() + usize::try_from(values).unwrap(), Kind::None.tag());
        bytes
    };
    let most = u32::try_from(VALUES_MAX).unwrap();
    assert!(decoded(&list(most - 1)).is_ok());
    assert_eq!(decoded(&list(most)), Err(DecodeErrorKind::TooManyValues));
}

#[test]
fn lengths_are_limited() {
    let write = |length| encode::write_length(Kind::String, length, &mut BytesMut::new());
    assert_eq!(write(LENGTH_MAX), Ok(()));
    let error = write(LENGTH_MAX + 1).unwrap_err();
    assert_eq!(error.to_string(), "string of length 4294967296 is too long");
}

/// Key and value of a row in the store of Zeek's controller.
#[test]
fn a_row_of_the_store_survives_the_round_trip() {
    for hex in [
        "0b 27 4d 61 6e 61 67 65 6d 65 6e 74 3a 3a 43 6f 6e 74 72 6f 6c 6c 65 72 3a 3a 52 75 6e 74 69 6d 65 3a 3a 53 54
         41 47 45 44",
        "0e 03 05 05 63 66 67 2d 31 0c 01 0e 03 05 0a 69 6e 73 74 61 6e 63 65 2d 31 06 00 00 00 00 00 00 00 00 00 00 ff
         ff 0a 00 00 01 00 0c 00",
    ] {
        let row = bytes(hex);
        assert_eq!(encoded(&decoded(&row).unwrap()), row);
    }
}

#[test]
fn sets_are_taken_in_any_order() {
    let unsorted = bytes("0d 03 01 01 0c 02 01 01 00 05 00 00 00 01 00");
    let data = decoded(&unsorted).unwrap();
    assert_eq!(data.to_string(), "{nil -> F, T -> {nil, T},  -> nil}");
    assert_eq!(encoded(&data), unsorted);
}

/// As a peer may send it that does not keep sets in order: each turned by as many elements as `turn` says.
fn disordered(data: &Data, turn: &mut usize, out: &mut BytesMut) {
    let len = |len: usize| u8::try_from(len).unwrap();
    let mut next = |len: usize| {
        *turn = turn.wrapping_mul(31).wrapping_add(7);
        *turn % len.max(1)
    };
    match data {
        Data::Set(set) => {
            out.extend_from_slice(&[Kind::Set.tag(), len(set.len())]);
            let mut elements: Vec<&Data> = set.iter().collect();
            elements.rotate_left(next(set.len()));
            for element in elements {
                disordered(element, turn, out);
            }
        }
        Data::Table(table) => {
            out.extend_from_slice(&[Kind::Table.tag(), len(table.len())]);
            let mut entries: Vec<_> = table.iter().collect();
            entries.rotate_left(next(table.len()));
            for (key, value) in entries {
                disordered(key, turn, out);
                disordered(value, turn, out);
            }
        }
        Data::Vector(elements) => {
            out.extend_from_slice(&[Kind::Vector.tag(), len(elements.len())]);
            for element in elements {
                disordered(element, turn, out);
            }
        }
        leaf => encode(leaf, out).unwrap(),
    }
}

/// A set of two sets, each of which has two booleans.
fn set_of_sets(first: [u8; 2], second: [u8; 2]) -> Vec<u8> {
    let set = |[left, right]: [u8; 2]| [0x0c, 2, 1, left, 1, right];
    [vec![0x0c, 2], [set(first), set(second)].concat()].concat()
}

#[test]
fn the_order_of_a_message_is_kept_and_makes_no_difference() {
    let ordered = "0c03 0c00 0c020100 0101 0d02 0100 05016b 0101 0e00";
    let disordered = "0c03 0d02 0101 0e00 0100 05016b 0c0201010100 0c00";
    let [ordered, disordered] = [ordered, disordered].map(|text| hex::decode(text.replace(' ', "")).unwrap());
    let read = [&ordered, &disordered].map(|bytes| decoded(bytes).unwrap());
    assert_eq!(read[0], read[1]);
    assert_eq!(read[0].to_string(), read[1].to_string());
    let [first, second] = &read;
    for (data, bytes) in [(first, &ordered), (second, &disordered)] {
        assert_eq!(encoded(data), *bytes);
        assert_eq!(encoded(&data.clone()), *bytes);
    }
}

/// Once the borrowing decoder compared sets within sets as they came.
#[test]
fn sets_in_another_order_are_the_same_set() {
    for bytes in [
        set_of_sets([0, 1], [1, 0]),
        set_of_sets([1, 0], [0, 1]),
        set_of_sets([1, 0], [1, 0]),
        // In keys of tables, and deeper: {[{F, T}] -> nil, [{T, F}] -> nil}.
        hex::decode("0d020e010c02010001010 00e010c020101010000".replace(' ', "")).unwrap(),
        // The values of a table count where the table is in an element.
        hex::decode("0c020d01000c02010001010d01000c0201010100").unwrap(),
    ] {
        let duplicate = decoded(&bytes).unwrap_err();
        assert!(matches!(duplicate, DecodeErrorKind::Duplicate(_)), "{duplicate}");
    }
}

prop_compose! {
    fn leaf()(kind in 0..12, bits: u64, bytes in prop::collection::vec(any::<u8>(), 0..24), address: [u8; 16]) -> Data {
        let [first, second, third, ..] = address;
        let integer = bits.cast_signed();
        let address = Address::from_bytes(address);
        match kind {
            0 => Data::None,
            1 => Data::Boolean(first > 127),
            2 => Data::Count(bits),
            3 => Data::Integer(integer),
            4 => Data::Real(Real(real::unpack(bits))),
            5 => Data::String(ZeekString::from(bytes)),
            6 => Data::Address(address),
            7 => Data::Subnet(Subnet { address, length: first }),
            8 => Data::Port(Port {
                number: u16::from_be_bytes([first, second]),
                protocol: Protocol::from_code(third % 4).unwrap(),
            }),
            9 => Data::Timestamp(Timestamp(integer)),
            10 => Data::Timespan(Timespan(integer)),
            _ => Data::EnumValue(EnumValue(bytes.into())),
        }
    }
}

fn value() -> impl Strategy<Value = Data> {
    leaf().prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Data::Vector),
            prop::collection::btree_set(inner.clone(), 0..8)
                .prop_map(|set| Data::Set(set.into_iter().collect())),
            prop::collection::btree_map(inner.clone(), inner, 0..8)
                .prop_map(|map| Data::Table(Table::try_from(Vec::from_iter(map)).unwrap())),
        ]
    })
}

proptest! {
    #[test]
    fn values_survive_the_round_trip(data in value()) {
        // Broker takes no set with a NaN beside another real. A subnormal number is another once it is packed.
        let Ok(data) = decoded(&encoded(&data)) else { return Ok(()) };
        prop_assert_eq!(decoded(&encoded(&data)), Ok(data));
    }

    #[test]
    fn the_order_on_the_wire_survives(data in value(), mut turn: usize) {
        let Ok(data) = decoded(&encoded(&data)) else { return Ok(()) };
        // After a subnormal number has become another one, the order is that of what it became.
        let Ok(data) = decoded(&encoded(&data)) else { return Ok(()) };
        let mut bytes = BytesMut::new();
        disordered(&data, &mut turn, &mut bytes);
        let read = decoded(&bytes).unwrap();
        prop_assert_eq!(&read, &data);
        prop_assert_eq!(encoded(&read), &bytes);
    }

    #[test]
    fn what_decodes_encodes_to_as_many_bytes(input in prop::collection::vec(0_u8..20, 0..64)) {
        if let Ok(data) = decoded(&input) {
            prop_assert_eq!(encoded(&data).len(), input.len());
        }
    }
}
