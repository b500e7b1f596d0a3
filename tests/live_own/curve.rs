//! Keys for encrypted `ZeroMQ`: pairs on Curve25519, as text by `ZeroMQ`'s RFC 32 (Z85).

use std::{path::Path, process::Command};

use mgmt_api::release;
use openssl::pkey::{Id, PKey};

/// The first release whose `ZeroMQ` can be encrypted.
const FIRST: (u32, u32) = (8, 2);

/// Whether an installed Zeek has it.
pub(super) fn has(zeek: &Path) -> bool {
    let output = Command::new(zeek.join("bin/zeek")).arg("--version").output();
    let output = output.expect("it can be run");
    release(&String::from_utf8_lossy(&output.stdout)).is_some_and(|release| release >= FIRST)
}

/// The four variables of a node that others connect to. The others do without the last one.
pub(super) fn keys() -> Vec<(String, String)> {
    let variables = |whose: &str| {
        let pair = PKey::generate_x25519().expect("OpenSSL makes keys");
        assert_eq!(pair.id(), Id::X25519);
        let keys = [
            ("PUBLICKEY", pair.raw_public_key().expect("it has one")),
            ("SECRETKEY", pair.raw_private_key().expect("it has one")),
        ];
        keys.map(|(kind, key)| {
            let name = format!("ZEEK_CLUSTER_BACKEND_ZEROMQ_CURVE_{whose}_{kind}");
            (name, z85(&key))
        })
    };
    [variables("CLIENT"), variables("SERVER")].concat()
}

fn z85(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 85] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let text = bytes.chunks_exact(4).flat_map(|word| {
        let word = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
        (0..5).rev().map(move |place| {
            let digit = word / 85_u32.pow(place) % 85;
            char::from(DIGITS[digit as usize])
        })
    });
    text.collect()
}
