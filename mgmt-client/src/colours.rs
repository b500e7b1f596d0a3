//! States and verdicts in colours: on a terminal, unless the variable `NO_COLOR` says otherwise.

use std::{
    env,
    io::{IsTerminal, stdout},
};

use crate::Exit;

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

/// Whether standard output is to have colours.
pub(crate) fn are_wanted() -> bool {
    stdout().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// A status with its states in colours, and its last line in that of the exit code. The text is [escaped](broker_codec::data::escaped_lines).
pub(crate) fn painted(text: &str, exit: Exit) -> String {
    let (body, verdict) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    let mut painted = String::with_capacity(text.len() * 2);
    for line in body.lines() {
        for token in line.split_inclusive(|c: char| !c.is_ascii_uppercase()) {
            let word = token.trim_end_matches(|c: char| !c.is_ascii_uppercase());
            match colour_of(word) {
                Some(colour) => painted.extend([&in_colour(word, colour), &token[word.len()..]]),
                None => painted.push_str(token),
            }
        }
        painted.push('\n');
    }
    let colour = match exit {
        Exit::Done => GREEN,
        _ => RED,
    };
    painted + &in_colour(verdict, colour) + "\n"
}

fn colour_of(word: &str) -> Option<u8> {
    Some(match word {
        "RUNNING" => GREEN,
        "CRASHED" | "FAILED" => RED,
        "PENDING" | "UNKNOWN" | "WARNING" => YELLOW,
        _ => return None,
    })
}

fn in_colour(text: &str, colour: u8) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_the_last_line_have_colours() {
        let text = "s  a  RUNNING  1\na on s is CRASHED: no\nNOT as deployed\n";
        let expected = "s  a  \x1b[32mRUNNING\x1b[0m  1\na on s is \x1b[31mCRASHED\x1b[0m: no\n\x1b[31mNOT as deployed\x1b[0m\n";
        assert_eq!(painted(text, Exit::Failed), expected);
        assert_eq!(painted("fine\n", Exit::Done), "\x1b[32mfine\x1b[0m\n");
    }
}
