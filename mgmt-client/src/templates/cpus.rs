//! Numbers of CPUs, and of workers by them.

use std::collections::BTreeSet;

use super::problems::shown;

/// No CPU has a higher number, as in the agent.
const CPU_MAX: u32 = 1023;

/// The CPUs of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(BTreeSet<u32>);

impl Cpus {
    /// So many, by their number, from 0 on.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        let is_possible = (1..=CPU_MAX + 1).contains(&number);
        is_possible.then(|| Self((0..number).collect()))
    }

    /// As an agent tells them: `0-7,16`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        list(text).map(|cpus| Self(cpus.into_iter().collect()))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Those of a list that are not among them.
    pub(super) fn lacking(&self, wanted: &[u32]) -> Vec<u32> {
        wanted
            .iter()
            .filter(|cpu| !self.0.contains(cpu))
            .copied()
            .collect()
    }

    pub(super) fn in_words(&self) -> String {
        in_ranges(self.0.iter().copied())
    }
}

/// How many workers there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Number(u32),
    /// One for each CPU but so many.
    CpusBut(u32),
}

impl Count {
    /// `cpus`, or as in `cpus - 2`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("cpus")?.trim();
        if rest.is_empty() {
            return Some(Self::CpusBut(0));
        }
        number(rest.strip_prefix('-')?.trim()).map(Self::CpusBut)
    }

    pub(super) const fn is_by_cpus(self) -> bool {
        matches!(self, Self::CpusBut(_))
    }

    pub(super) fn in_words(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::CpusBut(0) => "cpus".to_owned(),
            Self::CpusBut(number) => format!("cpus - {number}"),
        }
    }
}

/// CPUs in the order in which they are listed, each once: `2-5,8`. None if this is no such list.
pub(super) fn list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first.trim())?, number(last.trim())?);
        if first > last || last > CPU_MAX {
            return None;
        }
        for cpu in first..=last {
            cpus.push(cpu);
        }
        // Each may be there once, so that no list is longer than that.
        if cpus.len() > CPU_MAX as usize + 1 {
            return None;
        }
    }
    are_different(&cpus).then_some(cpus)
}

/// Whether these are numbers of CPUs, each once.
pub(super) fn are_cpus(cpus: &[u32]) -> bool {
    !cpus.is_empty() && cpus.iter().all(|cpu| *cpu <= CPU_MAX) && are_different(cpus)
}

fn are_different(cpus: &[u32]) -> bool {
    cpus.iter().collect::<BTreeSet<_>>().len() == cpus.len()
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| !digits.starts_with('+'))
}

/// Numbers in ascending order, those that follow one another as a range.
pub(super) fn in_ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = |(first, last): &(u32, u32)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    ranges.iter().map(shown).collect::<Vec<_>>().join(",")
}

/// What `--cpus` of the command line says: `sensor1=16`.
pub(crate) fn given(text: &str) -> Result<(String, Cpus), String> {
    let read = text.rsplit_once('=').and_then(|(name, digits)| {
        let cpus = Cpus::of_number(number(digits)?)?;
        Some((name.to_owned(), cpus))
    });
    let read = read.filter(|(name, _)| !name.is_empty());
    read.ok_or_else(|| format!("{} is no INSTANCE=NUMBER, as in sensor1=16", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_keeps_its_order_and_has_each_once() {
        for (text, cpus) in [
            ("3", Some(&[3][..])),
            ("2-4,8", Some(&[2, 3, 4, 8])),
            ("8, 2 - 4", Some(&[8, 2, 3, 4])),
            ("", None),
            ("a", None),
            ("4-2", None),
            ("+1", None),
            ("1,1", None),
            ("0-3,2", None),
            ("1024", None),
            ("0-4000000000", None),
        ] {
            assert_eq!(list(text).as_deref(), cpus, "{text}");
        }
        assert_eq!(list("0-1023").map(|cpus| cpus.len()), Some(1024));
        assert_eq!(in_ranges([2, 3, 4, 8]), "2-4,8");
    }

    #[test]
    fn workers_are_counted_by_cpus() {
        for (text, count) in [
            ("cpus", Some(Count::CpusBut(0))),
            ("cpus - 2", Some(Count::CpusBut(2))),
            ("cpus-2", Some(Count::CpusBut(2))),
            ("cpus + 2", None),
            ("cpus -", None),
            ("cpus - -2", None),
            ("cpus2", None),
            ("8", None),
        ] {
            assert_eq!(Count::read(text), count, "{text}");
        }
    }

    #[test]
    fn cpus_are_given_by_their_number() {
        let (name, cpus) = given("sensor=1=16").unwrap();
        assert_eq!((name.as_str(), cpus.in_words()), ("sensor=1", "0-15".to_owned()));
        for wrong in ["sensor1", "=2", "a=", "a=0", "a=1025", "a=-1", "a=2-9"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
