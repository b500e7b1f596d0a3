//! What goes to many peers takes turns with what happens meanwhile.

use std::collections::VecDeque;

/// How many are taken before others are served.
const TAKEN_MAX: usize = 16;

/// Actions that wait for their turn, in their order.
#[derive(Debug)]
pub(crate) struct Turns<A>(VecDeque<A>);

impl<A> Turns<A> {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, action: A) {
        self.0.push_back(action);
    }

    /// The next of those whose turn it is, if so many have been taken since others were served.
    pub(crate) fn next(&mut self, taken: usize) -> Option<A> {
        if taken >= TAKEN_MAX {
            return None;
        }
        self.0.pop_front()
    }

    /// Has those not carried out that are for a peer that is gone.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(&A) -> bool) {
        self.0.retain(|action| !is_gone(action));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(turns: &mut Turns<u32>) -> Vec<u32> {
        (0..).map_while(|taken| turns.next(taken)).collect()
    }

    #[test]
    fn few_at_a_time_are_taken_in_their_order_and_none_of_a_peer_that_is_gone() {
        let mut turns = Turns::new();
        for number in 0..60 {
            turns.push(number);
        }
        assert_eq!(taken(&mut turns), (0..16).collect::<Vec<_>>());
        turns.forget(|number| number % 2 == 1);
        turns.push(60);
        assert_eq!(taken(&mut turns), (16..48).step_by(2).collect::<Vec<_>>());
        assert_eq!(taken(&mut turns), (48..=60).step_by(2).collect::<Vec<_>>());
        assert!(turns.is_empty());
    }
}
