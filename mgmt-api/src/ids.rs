//! Request ids, from a source that the owner of a state machine hands in.

use broker_codec::data::ZeekString;

/// Where a state machine gets fresh ids from: random ones in production, foreseeable ones in tests and replays.
pub trait IdSource: Send {
    /// An id that this source has not returned before.
    fn next_id(&mut self) -> ZeekString;
}

/// `#1`, `#2`, `#3`, ...
#[derive(Clone, Debug, Default)]
pub struct SequentialIds {
    last: u64,
}

impl IdSource for SequentialIds {
    fn next_id(&mut self) -> ZeekString {
        self.last += 1;
        format!("#{}", self.last).into()
    }
}

/// How many random bytes are in an id: Zeek's `bits_per_uid`, 96.
pub const ID_BYTES: usize = 12;

/// Ids as Zeek's `unique_id("")` makes them: 96 random bits in base 62. Zeek leaves leading zeros out; here every id has
/// [`ID_DIGITS`] digits.
pub struct UniqueIds<R> {
    random: R,
}

/// How many digits of base 62 hold 96 bits.
pub const ID_DIGITS: usize = 17;

impl<R: FnMut() -> [u8; ID_BYTES] + Send> UniqueIds<R> {
    /// Takes its bits from `random`, which must never return the same bytes twice, save by chance.
    pub const fn new(random: R) -> Self {
        Self { random }
    }
}

impl<R: FnMut() -> [u8; ID_BYTES] + Send> IdSource for UniqueIds<R> {
    fn next_id(&mut self) -> ZeekString {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut bits = (self.random)()
            .iter()
            .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut id = vec![DIGITS[0]; ID_DIGITS];
        for digit in id.iter_mut().rev() {
            *digit = DIGITS[(bits % 62) as usize];
            bits /= 62;
        }
        id.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unique_id(bytes: [u8; ID_BYTES]) -> ZeekString {
        UniqueIds::new(move || bytes).next_id()
    }

    #[test]
    fn sequential_ids_count() {
        let mut ids = SequentialIds::default();
        assert_eq!(ids.next_id(), "#1");
        assert_eq!(ids.next_id(), "#2");
    }

    #[test]
    fn unique_ids_hold_all_bits_in_base_62() {
        let mut one = [0; ID_BYTES];
        one[ID_BYTES - 1] = 1;
        assert_eq!(unique_id([0; ID_BYTES]), "00000000000000000");
        assert_eq!(unique_id(one), "00000000000000001");
        // 2^96 - 1, by `bc`: obase=62.
        assert_eq!(unique_id([0xff; ID_BYTES]), "1f2SI9UJPXvb7vdJ1");
    }
}
