use super::Dice;

/// Makes new inputs from known ones, the same ones from the same seed.
#[derive(Clone, Debug)]
pub struct Mutator {
    dice: Dice,
}

/// The most that one input may grow by in one mutation, in bytes.
const GROWTH_MAX: usize = 32;

impl Mutator {
    /// A mutator whose inputs follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { dice: Dice(seed) }
    }

    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: usize) -> usize {
        match u64::try_from(bound) {
            Ok(bound) if bound > 0 => usize::try_from(self.dice.below(bound)).unwrap_or_default(),
            _ => 0,
        }
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.dice.roll().to_le_bytes();
        byte
    }

    /// One of `corpus`, changed in one to four places.
    pub fn input<T: AsRef<[u8]>>(&mut self, corpus: &[T]) -> Vec<u8> {
        let mut input = self.choose(corpus).to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut input, corpus);
        }
        input
    }

    fn choose<'a, T: AsRef<[u8]>>(&mut self, corpus: &'a [T]) -> &'a [u8] {
        corpus.get(self.below(corpus.len())).map_or(&[], AsRef::as_ref)
    }

    fn change<T: AsRef<[u8]>>(&mut self, input: &mut Vec<u8>, corpus: &[T]) {
        /// Lengths and tags at their limits.
        const TELLING: [u8; 12] = [0, 1, 2, 0x0c, 0x0d, 0x0e, 0x0f, 0x7f, 0x80, 0xf0, 0xfe, 0xff];
        let at = self.below(input.len());
        let length = self.below(GROWTH_MAX.min(input.len() - at) + 1);
        match self.below(8) {
            0 => {
                let bit = 1 << self.below(8);
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
            }
            1 => {
                let telling = TELLING
                    .get(self.below(TELLING.len()))
                    .copied()
                    .unwrap_or_default();
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte = telling);
            }
            2 => input.insert(at, self.byte()),
            3 => drop(input.drain(at..at + length)),
            4 => input.extend_from_within(at..at + length),
            5 => {
                let piece = input.get(at..at + length).unwrap_or_default().to_vec();
                let to = self.below(input.len());
                input.splice(to..to, piece);
            }
            6 => {
                let other = self.choose(corpus);
                let from = self.below(other.len());
                let piece = other.get(from..).unwrap_or_default();
                let piece = piece.get(..GROWTH_MAX.min(piece.len())).unwrap_or_default();
                input.splice(at..at + length.min(piece.len()), piece.iter().copied());
            }
            _ => input.truncate(at),
        }
    }
}
