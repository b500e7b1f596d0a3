use std::{collections::BTreeMap, fs::File, io::Write, path::Path};

use broker_codec::data::ZeekString;
use bytes::Bytes;
use mgmt_api::NodeOutputs;
use supervise::output::Tail;

use crate::command_line::CommandLine;

/// A stream of a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// What nodes write (`policy/frameworks/management/supervisor/main.zeek`): into files in their directories, and the last
/// lines kept, to be told when the node is started again.
pub(super) struct Outputs {
    /// By node, its standard output and standard error.
    nodes: BTreeMap<ZeekString, [Written; 2]>,
    files: [String; 2],
    lines_max: usize,
}

struct Written {
    file: Option<File>,
    last: Tail,
}

impl Outputs {
    pub(super) fn new(command_line: &CommandLine) -> Self {
        let lines_max = command_line.text("Management::Supervisor::output_max_lines");
        Self {
            nodes: BTreeMap::new(),
            files: [
                command_line.text_or("Management::Node::stdout_file", "stdout"),
                command_line.text_or("Management::Node::stderr_file", "stderr"),
            ],
            lines_max: lines_max.and_then(|lines| lines.parse().ok()).unwrap_or(100),
        }
    }

    /// A node has written a line that is not empty.
    pub(super) fn line(&mut self, node: &ZeekString, stream: Stream, line: Bytes) {
        let Some([stdout, stderr]) = self.nodes.get_mut(node) else {
            return;
        };
        let written = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        if let Some(file) = &mut written.file {
            // A full disk does not end a Supervisor.
            let _ = file.write_all(&[&line[..], b"\n"].concat());
        }
        written.last.push(line);
    }

    /// A node was started: begins its files anew, and returns what its last life wrote at the end, if anything.
    pub(super) fn begin(&mut self, node: &ZeekString, directory: Option<&Path>) -> Option<NodeOutputs> {
        let fresh = self.files.each_ref().map(|name| Written {
            // Without its file the output is still told.
            file: directory.and_then(|directory| File::create(directory.join(name)).ok()),
            last: Tail::new(self.lines_max),
        });
        let before = self.nodes.insert(node.clone(), fresh)?;
        let [stdout, stderr] = before.map(|written| written.last.joined());
        (!stdout.is_empty() || !stderr.is_empty()).then(|| NodeOutputs {
            stdout: stdout.into(),
            stderr: stderr.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn the_last_lines_of_a_life_are_told_when_the_next_one_begins() {
        let directory = env::temp_dir().join(format!("stand-ins-outputs-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let node = ZeekString::from("worker");
        let mut outputs = Outputs::new(&CommandLine::default());
        assert_eq!(outputs.begin(&node, Some(&directory)), None, "first life");
        assert_eq!(outputs.begin(&node, Some(&directory)), None, "a silent life");
        for number in 0..150 {
            outputs.line(&node, Stream::Stderr, number.to_string().into());
        }
        let text = fs::read_to_string(directory.join("stderr")).unwrap();
        assert_eq!(text.lines().count(), 150, "the file has all lines");
        let told = outputs.begin(&node, Some(&directory)).unwrap();
        assert_eq!(told.stdout, "");
        let lines: Vec<_> = told.stderr.as_str().unwrap().lines().collect();
        assert_eq!((lines.len(), lines[0], lines[99]), (100, "50", "149"));
        assert_eq!(
            fs::read_to_string(directory.join("stderr")).unwrap(),
            "",
            "truncated"
        );
        fs::remove_dir_all(&directory).unwrap();
    }
}
