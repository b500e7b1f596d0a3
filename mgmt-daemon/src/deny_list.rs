//! The deny list: a file of certificates that count no more, whichever CA has signed them.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use broker_codec::data::is_hostile;
use broker_endpoint::{
    read_file,
    tls::{Fingerprint, PeerCertificate, Revoked},
};
use counters::Counters;
use mgmt_api::access::Pattern;

use crate::Counted;

/// How many certificates and names a file may have.
const ENTRIES_MAX: usize = 10_000;

/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// How many hexadecimal digits a SHA-256 has.
const DIGITS: usize = 64;

/// From so many on, hexadecimal digits without colons are a fingerprint, as is what has more colons than an address.
const FINGERPRINT_DIGITS_MIN: usize = 40;
const ADDRESS_COLONS_MAX: usize = 7;

/// With which some editors begin a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Which certificates are denied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct DenyList {
    fingerprints: BTreeSet<Fingerprint>,
    names: Vec<Pattern>,
}

/// A deny list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DenyListError {
    #[error("cannot read the deny list {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the deny list {} has more than {ENTRIES_MAX} entries", path.display())]
    TooLong { path: PathBuf },
    #[error("deny list {}:{line}: {reason}", path.display())]
    Wrong {
        path: PathBuf,
        line: usize,
        reason: WrongEntry,
    },
}

/// A line of a deny list is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongEntry {
    #[error("it is not UTF-8")]
    NoText,
    #[error(
        "a fingerprint of SHA-256 has {DIGITS} hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 shows them"
    )]
    Fingerprint,
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    LongName,
    #[error(
        "it is no name in a certificate: write what stands behind CN=, a DNS name, an address or a fingerprint"
    )]
    NoName,
}

impl DenyList {
    /// What is in a file; without one, nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has a line that is no entry.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, DenyListError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let unreadable = |source| DenyListError::Unreadable {
            path: path.to_owned(),
            source,
        };
        // What else there is has no end, or nothing in it.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is no regular file")));
        }
        let bytes = read_file(path).map_err(unreadable)?;
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        let mut list = Self::default();
        for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let added = str::from_utf8(bytes)
                .map_err(|_| WrongEntry::NoText)
                .and_then(|text| list.add(without_comment(text)));
            added.map_err(|reason| DenyListError::Wrong {
                path: path.to_owned(),
                line,
                reason,
            })?;
            if list.len() > ENTRIES_MAX {
                return Err(DenyListError::TooLong {
                    path: path.to_owned(),
                });
            }
        }
        Ok(list)
    }

    fn add(&mut self, entry: &str) -> Result<(), WrongEntry> {
        if entry.is_empty() {
            return Ok(());
        }
        if let Some(fingerprint) = fingerprint(entry)? {
            self.fingerprints.insert(fingerprint);
        } else if entry.len() > NAME_BYTES_MAX {
            return Err(WrongEntry::LongName);
        } else if !can_be_name(entry) {
            return Err(WrongEntry::NoName);
        } else {
            self.names.push(Pattern::new(entry));
        }
        Ok(())
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.fingerprints.len() + self.names.len()
    }

    fn denies(&self, certificate: &PeerCertificate) -> bool {
        let mut names = certificate.names.iter().filter_map(|name| name.as_str());
        self.fingerprints.contains(&certificate.fingerprint)
            || names.any(|name| self.names.iter().any(|pattern| pattern.fits(name)))
    }

    /// From now on what it denies is revoked on all ports, open connections included.
    pub(crate) fn enforce(self, revoked: &Revoked, counters: &Counters<Counted>) {
        let counters = counters.clone();
        revoked.set(move |certificate| {
            let denies = self.denies(certificate);
            if denies {
                counters.increment(Counted::CertificatesDenied);
            }
            denies
        });
    }
}

/// What a line has before a comment, which begins it or stands behind a space.
fn without_comment(line: &str) -> &str {
    let starts = |(place, _): &(usize, &str)| {
        line.get(..*place)
            .is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
    };
    let comment = line.match_indices('#').find(starts);
    comment
        .and_then(|(place, _)| line.get(..place))
        .unwrap_or(line)
        .trim()
}

/// Whether a certificate may have such a name. Of what fits none nothing would be revoked.
fn can_be_name(entry: &str) -> bool {
    let is_address = entry.parse::<IpAddr>().is_ok() || entry.contains('*');
    !entry.contains('=') && !entry.chars().any(is_hostile) && (is_address || !entry.contains(':'))
}

/// The fingerprint that this is, if it is one rather than a name.
fn fingerprint(entry: &str) -> Result<Option<Fingerprint>, WrongEntry> {
    // `sha256 Fingerprint=`
    let named = entry
        .split_once('=')
        .filter(|(what, _)| what.to_ascii_lowercase().ends_with("fingerprint"));
    let digits = named.map_or(entry, |(_, digits)| digits);
    let (colons, digits): (Vec<char>, Vec<char>) =
        digits.chars().partition(|c| *c == ':' || c.is_whitespace());
    let is_hex = digits.iter().all(char::is_ascii_hexdigit);
    let is_mistyped = digits.len() == DIGITS && digits.iter().all(char::is_ascii_alphanumeric);
    let is_one = named.is_some()
        || is_mistyped
        || is_hex && (digits.len() >= FINGERPRINT_DIGITS_MIN || colons.len() > ADDRESS_COLONS_MAX);
    if !is_one {
        return Ok(None);
    }
    let mut bytes = [0; DIGITS / 2];
    hex::decode_to_slice(String::from_iter(digits), &mut bytes).map_err(|_| WrongEntry::Fingerprint)?;
    Ok(Some(Fingerprint(bytes)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn read(text: impl AsRef<[u8]>) -> Result<DenyList, String> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("denied");
        fs::write(&path, text).unwrap();
        DenyList::read(Some(&path)).map_err(|error| {
            let path = format!("{}/", home.path().display());
            error.to_string().replace(&path, "")
        })
    }

    fn certificate(names: &[&str], first: u8) -> PeerCertificate {
        let mut bytes: [u8; 32] = hex::FromHex::from_hex(HEX).unwrap();
        bytes[0] = first;
        PeerCertificate {
            subject: "CN=any".into(),
            names: names.iter().map(|&name| name.into()).collect(),
            fingerprint: Fingerprint(bytes),
        }
    }

    #[test]
    fn a_certificate_is_denied_by_its_fingerprint_in_any_form_or_by_a_name() {
        let pairs: Vec<&str> = (0..DIGITS).step_by(2).map(|at| &HEX[at..at + 2]).collect();
        let colons = pairs.join(":").to_uppercase();
        let forms = [
            HEX.to_owned(),
            colons.clone(),
            format!("sha256 Fingerprint={colons}"),
            format!("SHA256 Fingerprint={colons}\r"),
            format!("  {HEX}\t# alice's laptop, lost"),
        ];
        for form in forms {
            let list = read(format!("# lost\n\n{form}\n")).unwrap();
            assert!(list.denies(&certificate(&["alice"], 0)), "{form}");
            assert!(!list.denies(&certificate(&["alice"], 1)), "{form}");
            assert_eq!(list.len(), 1);
        }
        let list = read("alice\n*.noc.example # all\nNode #7\n2001:db8::7\na#b\n").unwrap();
        for (name, is_denied) in [
            ("alice", true),
            ("alice2", false),
            ("a.noc.example", true),
            ("Node", true),
            ("2001:db8::7", true),
            ("a#b", true),
            ("a", false),
            ("", false),
        ] {
            let certificate = certificate(&["other", name], 0);
            assert_eq!(list.denies(&certificate), is_denied, "{name}");
        }
        assert!(!read("# none\n").unwrap().denies(&certificate(&[], 0)));
        assert_eq!(DenyList::read(None).unwrap(), DenyList::default());
    }

    #[test]
    fn what_is_no_entry_is_named_by_its_line() {
        let sha1 = &HEX[..40];
        let wrong = "a fingerprint of SHA-256 has 64 hexadecimal digits";
        for (text, reason) in [
            (format!("\n{sha1}\n"), format!("deny list denied:2: {wrong}")),
            (format!("{HEX}0"), format!("deny list denied:1: {wrong}")),
            (
                "00:11:22:33:44:55:66:77:88".to_owned(),
                format!("deny list denied:1: {wrong}"),
            ),
            (
                "sha256 Fingerprint=alice".to_owned(),
                format!("deny list denied:1: {wrong}"),
            ),
            (
                "x".repeat(257),
                "deny list denied:1: a name has at most 256 bytes".to_owned(),
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.starts_with(&reason), "{error}");
        }
        assert_eq!(
            read(b"a\n\xff\n").unwrap_err(),
            "deny list denied:2: it is not UTF-8"
        );
        for wrong in ["CN=t1", "sha256:00", "t1\0", "a\rb"] {
            let error = read(wrong).unwrap_err();
            assert!(
                error.contains("it is no name in a certificate"),
                "{wrong:?}: {error}"
            );
        }
        let mistyped = format!("{}O", &HEX[1..]);
        assert!(read(&mistyped).unwrap_err().contains(wrong));
        assert!(DenyList::read(Some(Path::new("/dev/null"))).is_err());
        let marked = read("\u{feff}alice\n").unwrap();
        assert!(marked.denies(&certificate(&["alice"], 0)));
        let many = "alice\n".repeat(ENTRIES_MAX + 1);
        assert_eq!(
            read(many).unwrap_err(),
            "the deny list denied has more than 10000 entries"
        );
        let error = DenyList::read(Some(Path::new("/nonexistent/denied"))).unwrap_err();
        assert!(matches!(error, DenyListError::Unreadable { .. }), "{error}");
    }
}
