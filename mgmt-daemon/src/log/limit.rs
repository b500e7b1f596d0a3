//! Keeps a flood of inputs from becoming a flood of log lines: what one sender causes of one kind is limited, then summed up.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// How many lines of a kind one sender gets in an [`INTERVAL`]: as many as the news of an instance with a hundred nodes that starts.
const LINES_MAX: u64 = 200;
/// How many lines of a kind all connections of one host get in an [`INTERVAL`]: a sender may connect anew for each line.
const HOST_LINES_MAX: u64 = 1_000;
/// For how long is counted, and when it is summed up.
const INTERVAL: Duration = Duration::from_secs(10);
/// How many pairs of sender and kind are remembered. Further ones are counted together, as one host.
const SENDERS_MAX: usize = 4096;
/// How many sums are named at once; the others are added up.
const SUMS_MAX: usize = 20;

const OTHERS: &str = "other senders";

/// Counts lines by sender and kind.
#[derive(Debug, Default)]
pub struct Limiter {
    windows: HashMap<(String, String), Window>,
    /// While there is no room, ended windows are looked for once a second: that takes a look at each.
    full_until: Option<Instant>,
    /// When the first interval ends in which lines were suppressed.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    lines: u64,
    suppressed: u64,
    /// What the first line said.
    example: String,
}

/// Lines that were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub lines: u64,
    pub sender: String,
    /// What the first line of this kind said.
    pub example: String,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lines,
            sender,
            example,
        } = self;
        let seconds = INTERVAL.as_secs();
        write!(
            f,
            "{sender}: \u{2026} {} more within {seconds} s: {example}",
            grouped(*lines)
        )
    }
}

impl Limiter {
    /// Whether this sender may cause a further line of this kind, which says this. The host is known by the address in the
    /// sender, as in `WebSocket client 1 at 10.0.0.1:4711`. A kind is of ours: a sender must not be able to choose it.
    pub fn admit(&mut self, now: Instant, sender: &str, kind: &str, line: &str) -> bool {
        let host = host_of(sender);
        self.count(now, sender, (kind, line), LINES_MAX)
            && host.is_none_or(|host| self.count(now, &host, (kind, line), HOST_LINES_MAX))
    }

    fn count(&mut self, now: Instant, sender: &str, (kind, line): (&str, &str), max: u64) -> bool {
        let mut key = (sender.to_owned(), kind.to_owned());
        let mut max = max;
        if self.windows.len() >= SENDERS_MAX && !self.windows.contains_key(&key) {
            if self.full_until.is_none_or(|until| now >= until) {
                self.windows
                    .retain(|_, window| now < window.ends || window.suppressed > 0);
                self.full_until = Some(now + Duration::from_secs(1));
            }
            if self.windows.len() >= SENDERS_MAX {
                OTHERS.clone_into(&mut key.0);
                max = HOST_LINES_MAX;
            }
        }
        let fresh = Window {
            ends: now + INTERVAL,
            lines: 0,
            suppressed: 0,
            example: line.to_owned(),
        };
        let window = self.windows.entry(key).or_insert(fresh);
        if now >= window.ends && window.suppressed == 0 {
            window.ends = now + INTERVAL;
            window.lines = 0;
        }
        if window.lines < max {
            window.lines += 1;
            return true;
        }
        window.suppressed += 1;
        self.due = Some(self.due.map_or(window.ends, |due| due.min(window.ends)));
        false
    }

    /// When [`Self::sum_up`] is due, if lines were suppressed.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The sums of the intervals that have ended.
    pub fn sum_up(&mut self, now: Instant) -> Vec<Sum> {
        let mut sums = Vec::new();
        self.windows.retain(|(sender, _), window| {
            if now < window.ends {
                return true;
            }
            if window.suppressed > 0 {
                sums.push(Sum {
                    lines: window.suppressed,
                    sender: sender.clone(),
                    example: window.example.clone(),
                });
            }
            false
        });
        let suppressing = self.windows.values().filter(|window| window.suppressed > 0);
        self.due = suppressing.map(|window| window.ends).min();
        sums.sort_unstable_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.sender.cmp(&b.sender)));
        let rest = sums.split_off(sums.len().min(SUMS_MAX));
        if !rest.is_empty() {
            sums.push(Sum {
                lines: rest.iter().map(|sum| sum.lines).sum(),
                sender: OTHERS.to_owned(),
                example: format!("{} kinds and senders", rest.len()),
            });
        }
        sums
    }

    /// As [`Self::sum_up`], for all intervals: nothing comes any more.
    pub fn finish(&mut self) -> Vec<Sum> {
        let end = self.windows.values().map(|window| window.ends).max();
        end.map(|end| self.sum_up(end)).unwrap_or_default()
    }
}

fn host_of(sender: &str) -> Option<String> {
    sender
        .split([' ', ','])
        .find_map(|word| word.parse::<SocketAddr>().ok())
        .map(|address| address.ip().to_string())
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_sender_and_kind_becomes_some_lines_and_a_sum() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let flood = (0..5_188)
            .filter(|_| limiter.admit(start, "peer 1", "hello", "hello"))
            .count();
        assert_eq!(flood, 200);
        // Other kinds and senders are heard.
        assert!(
            limiter.admit(start, "peer 1", "leave", "leave")
                && limiter.admit(start, "peer 2", "hello", "hello")
        );
        assert_eq!(limiter.due(), Some(start + INTERVAL));
        assert_eq!(limiter.sum_up(start), []);
        let sums = limiter.sum_up(start + INTERVAL);
        assert_eq!(
            sums.iter().map(Sum::to_string).collect::<Vec<_>>(),
            ["peer 1: \u{2026} 4,988 more within 10 s: hello"]
        );
        assert!(limiter.due().is_none() && limiter.admit(start + INTERVAL, "peer 1", "hello", "hello"));
    }

    #[test]
    fn ordinary_use_is_never_limited() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            assert!(
                limiter.admit(now, "client", "get_nodes", "get_nodes")
                    && limiter.admit(now, "client", "get_nodes", "get_nodes")
            );
            assert_eq!(limiter.sum_up(now), []);
        }
    }

    #[test]
    fn connecting_anew_for_each_line_does_not_help() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let admitted = (1..10_001).filter(|port| {
            limiter.admit(
                start,
                &format!("WebSocket client {port} at 10.0.0.1:{port}, app"),
                "request",
                "request",
            )
        });
        assert_eq!(admitted.count(), 1_000);
        assert!(
            limiter.windows.len() <= SENDERS_MAX + 1,
            "{}",
            limiter.windows.len()
        );
        let sums = limiter.finish();
        assert_eq!(sums.iter().map(|sum| sum.lines).sum::<u64>(), 9_000, "{sums:?}");
    }

    #[test]
    fn what_is_remembered_and_written_is_bounded_however_many_senders_there_are() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let mut admitted = 0;
        for sender in 0..10_000 {
            for _ in 0..250 {
                admitted += u64::from(limiter.admit(start, &format!("peer {sender}"), "hello", "hello"));
            }
        }
        assert!(
            limiter.windows.len() <= SENDERS_MAX + 1,
            "{}",
            limiter.windows.len()
        );
        let sums = limiter.finish();
        assert!(sums.len() <= SUMS_MAX + 1, "{}", sums.len());
        assert_eq!(
            admitted + sums.iter().map(|sum| sum.lines).sum::<u64>(),
            2_500_000
        );
    }
}
