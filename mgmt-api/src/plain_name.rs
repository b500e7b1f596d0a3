//! Names that need no quotes in a path, a command line or a log: those of clusters, tokens, and instances that are enrolled.

/// The longest plain name, in bytes: a certificate has no longer ones.
pub const PLAIN_NAME_BYTES_MAX: usize = 64;

/// What a plain name is, after a subject.
pub const PLAIN_NAME: &str =
    "has letters, digits, -, _ and ., begins with a letter or a digit, and has 64 bytes at most";

/// Whether this is a plain name.
pub fn is_plain_name(name: &str) -> bool {
    let is_in = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= PLAIN_NAME_BYTES_MAX
        && name.chars().all(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_and_not_long() {
        let longest = "n".repeat(PLAIN_NAME_BYTES_MAX);
        for name in ["default", "sensor-12.example_net", "7", &longest] {
            assert!(is_plain_name(name), "{name}");
        }
        let too_long = "n".repeat(PLAIN_NAME_BYTES_MAX + 1);
        for name in [
            "", ".", "..", ".a", "-a", "a/b", "a b", "é", "a\n", "a*", &too_long,
        ] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
