//! The blocks of commands in pages.

use std::path::Path;

use regex_lite::Regex;

use crate::tidy::docs::pages;

/// A block of commands, as it stands in a page.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) page: String,
    pub(crate) text: String,
}

/// A command that is shown at a prompt, with what it prints.
#[derive(Debug)]
pub(crate) struct Command {
    /// `hub` where the prompt names no host.
    pub(crate) host: String,
    pub(crate) line: String,
    pub(crate) shown: String,
}

impl Block {
    /// By what a table names it.
    pub(crate) fn first(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The commands that it shows at prompts.
    pub(crate) fn commands(text: &str) -> Vec<Command> {
        let prompt = Regex::new(r"^([a-z0-9]*)\$ (.*)$").expect("a pattern");
        let mut commands: Vec<Command> = Vec::new();
        for line in text.lines() {
            if let Some(found) = prompt.captures(line) {
                let host = Some(&found[1]).filter(|host| !host.is_empty());
                commands.push(Command {
                    host: host.unwrap_or("hub").to_owned(),
                    line: found[2].to_owned(),
                    shown: String::new(),
                });
            } else {
                let last = commands.last_mut().expect("a block begins with a prompt");
                last.shown.push_str(line);
                last.shown.push('\n');
            }
        }
        commands
    }
}

/// Every block of commands of the README and of all pages below docs.
pub(crate) fn all() -> Vec<Block> {
    let fence = Regex::new(r"(?ms)^```(console|sh)\n(.*?)^```$").expect("a pattern");
    let for_operators = |path: &Path| path == "README.md" || path.starts_with("docs");
    let mut blocks = Vec::new();
    for (path, text) in pages().filter(|(path, _)| for_operators(path)) {
        blocks.extend(fence.captures_iter(&text).map(|found| Block {
            page: path.display().to_string(),
            text: found[2].to_owned(),
        }));
    }
    blocks
}
