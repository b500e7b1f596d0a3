use std::fmt::Debug;

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::*;

/// Broker's `hello_msg`, `internal/wire_format.hh`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Hello {
    magic: u32,
    sender: [u8; 16],
    min_version: u8,
    max_version: u8,
}

/// Broker's `entity_id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entity {
    endpoint: [u8; 16],
    object: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    unsigned: (u8, u16, u32, u64),
    text: Vec<u8>,
    expiry: Option<i64>,
    unit: (),
    entities: Vec<Entity>,
}

/// Decodes, compares, encodes to the same bytes; every strict prefix is an error.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(hex: &str, value: &T) {
    let bytes = hex::decode(hex.replace(' ', "")).unwrap();
    assert_eq!(from_slice::<T>(&bytes).as_ref(), Ok(value));
    assert_eq!(to_vec(value).map(hex::encode), Ok(hex::encode(&bytes)));
    for len in 0..bytes.len() {
        assert!(from_slice::<T>(&bytes[..len]).is_err(), "{len} bytes are enough");
    }
}

#[track_caller]
fn refused<T: DeserializeOwned + Debug>(hex: &str, error: &str) {
    let bytes = hex::decode(hex.replace(' ', "")).unwrap();
    assert_eq!(from_slice::<T>(&bytes).unwrap_err().to_string(), error);
}

#[test]
fn a_captured_hello_without_its_tag() {
    check(
        "5a45454b 8bd990a7810952f8a49977454dc7a5fa 01 01",
        &Hello {
            magic: 0x5A45_454B,
            sender: *b"\x8b\xd9\x90\xa7\x81\x09\x52\xf8\xa4\x99\x77\x45\x4d\xc7\xa5\xfa",
            min_version: 1,
            max_version: 1,
        },
    );
}

#[test]
fn captured_filters() {
    check(
        "02 0f7a65656b2f73757065727669736f72 0b7a65656b2f7461626c652f",
        &vec![b"zeek/supervisor".to_vec(), b"zeek/table/".to_vec()],
    );
    check("00", &Vec::<Vec<u8>>::new());
}

#[test]
fn a_captured_command_header_and_nack() {
    // internal_command(0, 8@dfb0e2ca-acf9-522b-a11b-4ee83dbcd3b1, none, nack([0])) without the content's index
    let endpoint = *b"\xdf\xb0\xe2\xca\xac\xf9\x52\x2b\xa1\x1b\x4e\xe8\x3d\xbc\xd3\xb1";
    check(
        "0000000000000000 dfb0e2caacf9522ba11b4ee83dbcd3b1 0000000000000008
         00000000000000000000000000000000 0000000000000000 010000000000000000"
            .replace('\n', "")
            .as_str(),
        &(
            0_u64,
            Entity { endpoint, object: 8 },
            Entity {
                endpoint: [0; 16],
                object: 0,
            },
            vec![0_u64],
        ),
    );
}

#[test]
fn each_form_of_the_table_in_the_documentation() {
    check("01", &true);
    check("ff fffe 00000003", &(0xff_u8, 0xfffe_u16, 3_u32));
    check("fffffffffffffffc", &-4_i64);
    check("00", &None::<u8>);
    check("01 07", &Some(7_u8));
    check("0102", &[1_u8, 2]);
    check("02 0161 026263", &vec![b"a".to_vec(), b"bc".to_vec()]);
    check("0007", &((), 7_u16));
}

#[test]
fn varbytes_are_canonical_and_have_32_bits() {
    for (number, hex) in [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (u32::MAX, "ffffffff0f"),
    ] {
        let bytes = hex::decode(hex).unwrap();
        let mut out = BytesMut::new();
        varbyte::encode(number, &mut out);
        assert_eq!(hex::encode(&out), hex);
        assert_eq!(varbyte::decode(&bytes), Ok((number, &[][..])));
        assert!(bytes.len() <= varbyte::LEN_MAX);
    }
    for (hex, error) in [
        ("", ErrorKind::UnexpectedEnd),
        ("80", ErrorKind::UnexpectedEnd),
        ("ffffffff", ErrorKind::UnexpectedEnd),
        ("8000", ErrorKind::VarbyteNotCanonical),
        ("8180808000", ErrorKind::VarbyteNotCanonical),
        ("ffffffff10", ErrorKind::VarbyteOverflow),
        ("808080808001", ErrorKind::VarbyteOverflow),
        ("8080808080808080808001", ErrorKind::VarbyteOverflow),
    ] {
        assert_eq!(varbyte::decode(&hex::decode(hex).unwrap()), Err(error), "{hex}");
    }
}

#[test]
fn errors_tell_what_and_where() {
    refused::<u32>("000102", "unexpected end of input at byte 0");
    refused::<(u8, u32)>("00000102", "unexpected end of input at byte 1");
    refused::<bool>("02", "expected 0 or 1, found 2 at byte 0");
    refused::<(u8, Option<u8>)>("0003", "expected 0 or 1, found 3 at byte 1");
    refused::<Vec<u8>>("0561", "length 5 exceeds the 1 remaining bytes at byte 0");
    refused::<u8>("0102", "1 surplus bytes at byte 1");
    refused::<f64>("0000000000000000", "the type has no encoding at byte 0");
    refused::<serde::de::IgnoredAny>("00", "the type has no encoding at byte 0");
}

#[test]
fn a_length_beyond_the_input_allocates_nothing() {
    refused::<Vec<u64>>(
        "feffffff0f00",
        "length 4294967294 exceeds the 1 remaining bytes at byte 0",
    );
    refused::<Vec<()>>(
        "ffffffff0f",
        "length 4294967295 exceeds the 0 remaining bytes at byte 0",
    );
}

#[test]
fn surplus_bytes_are_returned_by_from_prefix() {
    assert_eq!(from_prefix::<u8>(&[1, 2, 3]), Ok((1, &[2, 3][..])));
}

#[test]
fn bytes_are_borrowed() {
    let input = b"\x03abc";
    let bytes: &[u8] = from_slice(input).unwrap();
    assert_eq!((bytes, bytes.as_ptr()), (&b"abc"[..], input[1..].as_ptr()));
}

#[test]
fn errors_tell_what_cannot_be_written() {
    let error = to_vec(&(1_u8, 1.5_f64)).unwrap_err();
    assert_eq!(error.to_string(), "f64 has no encoding at byte 1");
    assert_eq!(to_vec(&'c').unwrap_err().kind(), &ErrorKind::Unsupported("char"));
}

proptest! {
    #[test]
    fn values_survive_and_their_prefixes_do_not(
        flag: bool,
        unsigned: (u8, u16, u32, u64),
        text in vec(any::<u8>(), 0..140),
        expiry: Option<i64>,
        entities in vec(any::<([u8; 16], u64)>(), 0..20),
    ) {
        let entities = entities.into_iter().map(|(endpoint, object)| Entity { endpoint, object }).collect();
        let value = Everything { flag, unsigned, text, expiry, unit: (), entities };
        let bytes = to_vec(&value).unwrap();
        prop_assert_eq!(from_slice(&bytes), Ok(value));
        for len in 0..bytes.len() {
            prop_assert!(from_slice::<Everything>(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in vec(prop_oneof![0_u8..4, any::<u8>()], 0..40)) {
        if let Ok((value, rest)) = from_prefix::<Vec<(Option<Vec<u8>>, bool, u16)>>(&bytes) {
            prop_assert_eq!(to_vec(&value).unwrap(), &bytes[..bytes.len() - rest.len()]);
        }
    }
}
