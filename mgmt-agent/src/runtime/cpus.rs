//! Which CPUs the agent may use.

use std::fmt::Write;

use rustix::thread::{CpuSet, sched_getaffinity};

/// Those that Linux has and lets this process run on, as in `0-7,16`. None if Linux does not tell.
pub(super) fn allowed() -> Option<String> {
    let set = sched_getaffinity(None).ok()?;
    Some(shown((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu))))
}

/// Numbers in ascending order, those that follow one another as a range.
fn shown(numbers: impl Iterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let mut text = String::new();
    for (first, last) in ranges {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match last - first {
            0 => write!(text, "{comma}{first}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use std::thread::available_parallelism;

    use super::*;
    use crate::supervisors::own;

    #[test]
    fn cpus_are_shown_in_ranges_as_they_are_read() {
        for (numbers, text) in [
            (&[0][..], "0"),
            (&[0, 1, 2, 3], "0-3"),
            (&[0, 2, 3, 7, 8, 9, 1023], "0,2-3,7-9,1023"),
        ] {
            assert_eq!(shown(numbers.iter().copied()), text);
            let read = own::cpus(text).unwrap();
            assert!(read.iter().map(|cpu| *cpu as usize).eq(numbers.iter().copied()));
        }
        assert_eq!(shown([].into_iter()), "");
    }

    #[test]
    fn this_process_may_use_those_that_it_counts() {
        let count = own::cpus(&allowed().unwrap()).unwrap().len();
        // A quota of the process's group makes fewer of them.
        assert!(count >= available_parallelism().unwrap().get());
    }
}
