use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    time::Duration,
};

use tokio::time::Instant;

use crate::endpoint::Origin;

/// So many connections that have said nothing yet are looked at again in one go.
const LOOKED_AT_MAX: usize = 256;

/// Accepted connections that wait for their handshake to begin, which happens at a pace: see [`super::accept`].
///
/// Waiting costs a file descriptor and a few hundred bytes. Who begins as a peer does comes first, who says something else
/// last: silence and garbage cost a flood the time that it wanted to cost us. Among equals, those come first whose origin had
/// fewest handshakes fail, so that somebody new overtakes any number of strangers that come again and again.
#[derive(Debug)]
pub(super) struct Lobby<C> {
    max: usize,
    /// How long one may wait.
    patience: Duration,
    last_number: u64,
    /// In the order of their arrival.
    waiting: BTreeMap<u64, Waiting<C>>,
    origins: HashMap<Origin, Queues>,
    /// The last one that was looked at again.
    looked_at: u64,
}

#[derive(Debug)]
struct Waiting<C> {
    connection: C,
    origin: Origin,
    until: Instant,
    rank: Rank,
}

/// The numbers of those of an origin by their rank, in the order of their arrival.
#[derive(Debug, Default)]
struct Queues([VecDeque<u64>; RANKS.len()]);

/// What a waiting connection has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// What a peer says first.
    Hello,
    /// Nothing yet, or too little to tell.
    Nothing,
    /// Something else.
    Garbage,
    /// It has ended.
    Goodbye,
}

/// In which order connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    Hello,
    Silent,
    Garbage,
}

const RANKS: [Rank; 3] = [Rank::Hello, Rank::Silent, Rank::Garbage];

impl Queues {
    const fn of(&self, rank: Rank) -> &VecDeque<u64> {
        let [hello, silent, garbage] = &self.0;
        match rank {
            Rank::Hello => hello,
            Rank::Silent => silent,
            Rank::Garbage => garbage,
        }
    }

    const fn of_mut(&mut self, rank: Rank) -> &mut VecDeque<u64> {
        let [hello, silent, garbage] = &mut self.0;
        match rank {
            Rank::Hello => hello,
            Rank::Silent => silent,
            Rank::Garbage => garbage,
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(VecDeque::len).sum()
    }
}

impl<C> Lobby<C> {
    pub(super) fn new(max: usize, patience: Duration) -> Self {
        Self {
            max,
            patience,
            last_number: 0,
            waiting: BTreeMap::new(),
            origins: HashMap::new(),
            looked_at: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.max
    }

    /// Lets one in.
    pub(super) fn enter(&mut self, origin: Origin, connection: C, now: Instant) {
        self.last_number += 1;
        let number = self.last_number;
        let waiting = Waiting {
            connection,
            origin,
            until: now + self.patience,
            rank: Rank::Silent,
        };
        self.waiting.insert(number, waiting);
        let queues = self.origins.entry(origin).or_default();
        queues.of_mut(Rank::Silent).push_back(number);
    }

    /// Takes out one of the origin that has most here: of the lowest rank, and of these the oldest.
    pub(super) fn evict(&mut self) -> Option<C> {
        let queues = self.origins.values().max_by_key(|queues| queues.len())?;
        let number = RANKS.iter().rev().find_map(|rank| queues.of(*rank).front())?;
        self.remove(*number)
    }

    /// Looks again at some of those that had said nothing; takes out those that have ended.
    pub(super) fn look(&mut self, said: impl Fn(&C) -> Said) -> Vec<C> {
        let after = (Bound::Excluded(self.looked_at), Bound::Unbounded);
        let mut news = Vec::new();
        let mut last = None;
        for (number, waiting) in self.waiting.range(after).take(LOOKED_AT_MAX) {
            last = Some(*number);
            if waiting.rank == Rank::Silent {
                match said(&waiting.connection) {
                    Said::Nothing => {}
                    something => news.push((*number, something)),
                }
            }
        }
        // From the beginning again when all were looked at.
        self.looked_at = last.unwrap_or(0);
        let mut ended = Vec::new();
        for (number, said) in news {
            match said {
                Said::Hello => self.promote(number, Rank::Hello),
                Said::Garbage => self.promote(number, Rank::Garbage),
                Said::Nothing => {}
                Said::Goodbye => ended.extend(self.remove(number)),
            }
        }
        ended
    }

    fn promote(&mut self, number: u64, rank: Rank) {
        let Some(waiting) = self.waiting.get_mut(&number) else {
            return;
        };
        if let Some(queues) = self.origins.get_mut(&waiting.origin) {
            queues.of_mut(waiting.rank).retain(|other| *other != number);
            queues.of_mut(rank).push_back(number);
        }
        waiting.rank = rank;
    }

    /// Takes out the one whose turn it is.
    pub(super) fn next(&mut self, failures: impl Fn(Origin) -> u32) -> Option<C> {
        let number = RANKS.iter().find_map(|rank| {
            let fronts = self.origins.iter().filter_map(|(origin, queues)| {
                let front = queues.of(*rank).front()?;
                Some((failures(*origin), queues.len(), *front))
            });
            fronts.min().map(|(_, _, number)| number)
        });
        self.remove(number?)
    }

    /// Takes out those that have waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<C> {
        let mut expired = Vec::new();
        while let Some((&number, waiting)) = self.waiting.first_key_value()
            && waiting.until <= now
        {
            expired.extend(self.remove(number));
        }
        expired
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.until)
    }

    fn remove(&mut self, number: u64) -> Option<C> {
        let waiting = self.waiting.remove(&number)?;
        if let Some(queues) = self.origins.get_mut(&waiting.origin) {
            queues.of_mut(waiting.rank).retain(|other| *other != number);
            if queues.len() == 0 {
                self.origins.remove(&waiting.origin);
            }
        }
        if self.waiting.is_empty() {
            // After a flood, its memory goes.
            self.origins = HashMap::new();
        }
        Some(waiting.connection)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A lobby with these connections: where from, and a name that begins with what it says.
    fn lobby(max: usize, connections: &[(Origin, &'static str)]) -> Lobby<&'static str> {
        let mut lobby = Lobby::new(max, PATIENCE);
        for (origin, name) in connections {
            lobby.enter(*origin, *name, Instant::now());
        }
        lobby
    }

    fn said(name: &&str) -> Said {
        match name.split(' ').next() {
            Some("hello") => Said::Hello,
            Some("garbage") => Said::Garbage,
            Some("goodbye") => Said::Goodbye,
            _ => Said::Nothing,
        }
    }

    fn origins() -> [Origin; 2] {
        ["192.0.2.1", "192.0.2.2"].map(|text| Origin::from(text.parse::<IpAddr>().unwrap()))
    }

    fn order(lobby: &mut Lobby<&'static str>, failures: impl Fn(Origin) -> u32) -> Vec<&'static str> {
        std::iter::from_fn(|| lobby.next(&failures)).collect()
    }

    #[test]
    fn origins_with_fewer_failures_and_then_fewer_connections_come_first() {
        let [a, b] = origins();
        let arrivals = [(a, "a1"), (a, "a2"), (a, "a3"), (b, "b1")];
        let mut same = lobby(9, &arrivals);
        assert_eq!(order(&mut same, |_| 0), ["b1", "a1", "a2", "a3"]);
        let mut worse = lobby(9, &arrivals);
        let failures = |origin| if origin == b { 7 } else { 6 };
        assert_eq!(order(&mut worse, failures), ["a1", "a2", "a3", "b1"]);
        assert!(worse.is_empty());
        assert!(worse.origins.is_empty());
    }

    #[test]
    fn who_says_hello_overtakes_silence_and_silence_garbage() {
        let [a, b] = origins();
        let arrivals = [
            (b, "garbage"),
            (b, "silence"),
            (a, "goodbye"),
            (a, "hello 1"),
            (a, "hello 2"),
        ];
        let mut lobby = lobby(9, &arrivals);
        assert_eq!(lobby.look(said), ["goodbye"]);
        let failures = |origin| if origin == a { 9 } else { 0 };
        assert_eq!(
            order(&mut lobby, failures),
            ["hello 1", "hello 2", "silence", "garbage"]
        );
    }

    #[test]
    fn all_are_looked_at_in_turn() {
        let [a, _] = origins();
        let mut lobby = Lobby::new(usize::MAX, PATIENCE);
        for _ in 0..LOOKED_AT_MAX {
            lobby.enter(a, "silence", Instant::now());
        }
        lobby.enter(a, "hello", Instant::now());
        assert_eq!(lobby.look(said), Vec::<&str>::new());
        assert_eq!(lobby.next(|_| 0), Some("silence"), "the last was not looked at");
        assert_eq!(lobby.look(said), Vec::<&str>::new());
        assert_eq!(lobby.next(|_| 0), Some("hello"));
        lobby.look(said);
        lobby.enter(a, "hello again", Instant::now());
        lobby.look(said);
        lobby.look(said);
        assert_eq!(lobby.next(|_| 0), Some("hello again"));
    }

    #[test]
    fn of_too_many_the_greediest_origin_loses_what_is_worth_least() {
        let [a, b] = origins();
        let arrivals = [(b, "garbage"), (a, "hello"), (a, "silence 1"), (a, "silence 2")];
        let mut lobby = lobby(4, &arrivals);
        assert!(lobby.is_full());
        lobby.look(said);
        assert_eq!(lobby.evict(), Some("silence 1"));
        assert!(!lobby.is_full());
        assert_eq!(lobby.evict(), Some("silence 2"));
        assert_eq!(lobby.waiting.len(), 2);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let [a, b] = origins();
        let start = Instant::now();
        let mut lobby = Lobby::new(3, PATIENCE);
        assert_eq!(lobby.deadline(), None);
        lobby.enter(a, "first", start);
        lobby.enter(b, "second", start + PATIENCE);
        assert_eq!(lobby.deadline(), Some(start + PATIENCE));
        assert_eq!(lobby.expire(start + PATIENCE / 2), Vec::<&str>::new());
        assert_eq!(lobby.expire(start + PATIENCE), ["first"]);
        assert_eq!(lobby.deadline(), Some(start + 2 * PATIENCE));
    }
}
