//! The plain `redef` statements of a Zeek script such as local.zeek.
//!
//! Zeek's script language is not interpreted: of a script, only statements of the form `redef NAME = VALUE;` outside
//! of conditionals are read, and every other `redef` is named, so that an operator knows what had no effect. Module
//! declarations are followed, since they qualify names.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The line that it starts on, from 1.
    pub line: usize,
    /// Fully qualified; `enum T` or `record T` for types.
    pub name: String,
    pub value: Result<String, NotPlain>,
}

/// Why a redefinition is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotPlain {
    /// `redef NAME += VALUE;` or `-=`
    Increment,
    /// Inside `@if` or `@ifdef`.
    Conditional,
    /// `redef enum` or `redef record`.
    Type,
    /// Inside something that is not understood.
    Hidden,
    Form,
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Increment => "it adds to a value; only = is read",
            Self::Conditional => "it stands inside @if or @ifdef, which are not evaluated",
            Self::Type => "it extends a type",
            Self::Hidden => "it stands inside another statement",
            Self::Form => "it is not of the form redef NAME = VALUE;",
        })
    }
}

/// Reads all redefinitions of a script, in order.
pub(super) fn statements(script: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut module = String::from("GLOBAL");
    let mut conditionals = 0_usize;
    let mut lexer = Lexer {
        rest: script,
        line: 1,
    };
    while let Some((line, piece)) = lexer.next_piece() {
        if let Some(directive) = piece.strip_prefix('@') {
            if directive.starts_with("if") {
                conditionals += 1;
            } else if directive.starts_with("endif") {
                conditionals = conditionals.saturating_sub(1);
            }
            continue;
        }
        let mut words = piece.splitn(2, char::is_whitespace);
        match (words.next(), words.next()) {
            (Some("module"), Some(name)) => name.trim().clone_into(&mut module),
            (Some("redef"), Some(rest)) => {
                statements.push(redefinition(line, rest.trim(), &module, conditionals > 0));
            }
            _ => statements.extend(hidden(line, &piece, &module)),
        }
    }
    statements
}

/// The scripts that a script loads from beside it (`./x`, `../x`) or by an absolute path, with the lines.
pub(super) fn loads_from_beside(script: &str) -> Vec<(usize, String)> {
    let mut lexer = Lexer {
        rest: script,
        line: 1,
    };
    let mut loads = Vec::new();
    while let Some((line, piece)) = lexer.next_piece() {
        let loaded = piece.strip_prefix("@load ").map(str::trim);
        let loaded = loaded.filter(|path| ["./", "../", "/"].iter().any(|start| path.starts_with(start)));
        let loaded = loaded.and_then(|path| path.split_whitespace().next());
        loads.extend(loaded.map(|path| (line, path.to_owned())));
    }
    loads
}

/// The redefinitions inside another statement, as in `if ( T ) { redef x = 1; }`, or behind something that no script has, such as a
/// byte order mark.
fn hidden(line: usize, piece: &str, module: &str) -> Vec<Statement> {
    let is_part_of_name = |c: char| c.is_ascii_alphanumeric() || "_:&\"".contains(c);
    let mut found = Vec::new();
    for (at, word) in piece.match_indices("redef") {
        let (before, rest) = (
            piece.get(..at).unwrap_or_default(),
            piece.get(at..).unwrap_or_default(),
        );
        let rest = rest.trim_start_matches(word);
        // An odd number of quotes is within a text; one that is escaped comes in no setting.
        let quoted = before.matches('"').count() % 2 == 1;
        if quoted || before.ends_with(is_part_of_name) || !rest.starts_with(char::is_whitespace) {
            continue;
        }
        let line = line + before.matches('\n').count();
        found.push(Statement {
            value: Err(NotPlain::Hidden),
            ..redefinition(line, rest.trim_start(), module, false)
        });
    }
    found
}

fn redefinition(line: usize, text: &str, module: &str, conditional: bool) -> Statement {
    let name_end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let rest = rest.trim();
    let is_type = name == "enum" || name == "record";
    let name = if is_type {
        let of = rest.split([' ', '\t', '\n', '+']).next().unwrap_or_default();
        format!("{name} {of}")
    } else if name.contains("::") || module == "GLOBAL" {
        name.trim_start_matches("GLOBAL::").to_owned()
    } else {
        format!("{module}::{name}")
    };
    let value = rest.strip_prefix('=').map(str::trim);
    let value = match value.filter(|value| !value.is_empty()) {
        _ if is_type => Err(NotPlain::Type),
        _ if conditional => Err(NotPlain::Conditional),
        _ if rest.starts_with("+=") || rest.starts_with("-=") => Err(NotPlain::Increment),
        Some(value) => Ok(value.to_owned()),
        None => Err(NotPlain::Form),
    };
    Statement { line, name, value }
}

/// Cuts a script into directives and statements, without comments.
struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    /// The next directive (`@...`, its line) or statement (without its semicolon), and the line that it starts on.
    fn next_piece(&mut self) -> Option<(usize, String)> {
        let mut piece = String::new();
        let mut start = self.line;
        let mut depth = 0_usize;
        while let Some(c) = self.next_char() {
            let blank = piece.is_empty();
            match c {
                '#' => self.skip_comment(),
                '@' if blank => {
                    let directive = self.take_line();
                    return Some((start, format!("@{directive}")));
                }
                ';' if depth == 0 => {
                    if !blank {
                        return Some((start, piece));
                    }
                }
                '"' => self.take_literal(&mut piece, c),
                '/' if begins_pattern(&piece) => self.take_literal(&mut piece, c),
                c if c.is_whitespace() && blank => {
                    start = self.line;
                    continue;
                }
                c => {
                    match c {
                        '(' | '[' | '{' => depth += 1,
                        ')' | ']' => depth = depth.saturating_sub(1),
                        '}' => {
                            depth = depth.saturating_sub(1);
                            if depth == 0 && ends_with_its_block(&piece) {
                                return Some((start, piece));
                            }
                        }
                        _ => {}
                    }
                    piece.push(c);
                }
            }
            if piece.is_empty() {
                start = self.line;
            }
        }
        let end = piece.trim_end();
        (!end.is_empty()).then(|| (start, end.to_owned()))
    }

    fn next_char(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip_comment(&mut self) {
        self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
    }

    fn take_line(&mut self) -> String {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        line.trim().to_owned()
    }

    /// Appends the string or pattern whose first quote or slash was just read. Without an end in its line it is none (`scan.l`).
    fn take_literal(&mut self, piece: &mut String, quote: char) {
        piece.push(quote);
        let mut escaped = false;
        let ends = |c: char| {
            let ends = c == '\n' || (c == quote && !escaped);
            escaped = c == '\\' && !escaped;
            ends
        };
        if let Some(end) = self
            .rest
            .find(ends)
            .filter(|end| self.rest[*end..].starts_with(quote))
        {
            let (literal, rest) = self.rest.split_at(end + 1);
            piece.push_str(literal);
            self.rest = rest;
        }
    }
}

/// Whether a slash here begins a pattern, in which a quote is a character like others: where a value is to come.
fn begins_pattern(piece: &str) -> bool {
    piece
        .trim_end()
        .ends_with(['=', '(', '[', '{', ',', '|', '&', '!'])
}

/// Whether a closing brace ends the statement, as it does for functions but not for record constructors.
fn ends_with_its_block(piece: &str) -> bool {
    let first = piece.split(|c: char| !c.is_ascii_alphanumeric()).next();
    matches!(
        first,
        Some("event" | "function" | "hook" | "export" | "if" | "else" | "for" | "while")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(line: usize, name: &str, value: Result<&str, NotPlain>) -> Statement {
        Statement {
            line,
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn assign(line: usize, name: &str, value: &str) -> Statement {
        statement(line, name, Ok(value))
    }

    fn not_plain(line: usize, name: &str, reason: NotPlain) -> Statement {
        statement(line, name, Err(reason))
    }

    #[test]
    fn plain_redefinitions_are_read_with_their_lines() {
        let script = "\
@load policy/frameworks/management/controller  # the controller

# redef Management::Controller::name = \"commented\";
redef Management::Controller::name = \"a;b # c\"; redef Broker::disable_ssl=T;
redef Management::Controller::default_port
    = 2160/tcp # not the default
    ;
module Management::Request;
redef timeout_interval = 1 sec;
redef Log::default_rotation_interval = 30 mins;";
        assert_eq!(
            statements(script),
            [
                assign(4, "Management::Controller::name", "\"a;b # c\""),
                assign(4, "Broker::disable_ssl", "T"),
                assign(5, "Management::Controller::default_port", "2160/tcp"),
                assign(9, "Management::Request::timeout_interval", "1 sec"),
                assign(10, "Log::default_rotation_interval", "30 mins"),
            ]
        );
    }

    #[test]
    fn what_is_not_plain_is_named() {
        let script = "\
redef Management::Controller::name += \"x\";
@if ( getenv(\"X\") != \"\" )
redef Management::Controller::name = \"conditional\";
@else
redef Management::state_dir = \"/x\";
@endif
redef enum Notice::Type += { Mine };
redef record Conn::Info += { mine: string &optional; };
redef Site::local_nets += { 192.168.0.0/16, };
redef x;
redef Management::spool_dir = \"/spool\";";
        assert_eq!(
            statements(script),
            [
                not_plain(1, "Management::Controller::name", NotPlain::Increment),
                not_plain(3, "Management::Controller::name", NotPlain::Conditional),
                not_plain(5, "Management::state_dir", NotPlain::Conditional),
                not_plain(7, "enum Notice::Type", NotPlain::Type),
                not_plain(8, "record Conn::Info", NotPlain::Type),
                not_plain(9, "Site::local_nets", NotPlain::Increment),
                not_plain(10, "x", NotPlain::Form),
                assign(11, "Management::spool_dir", "\"/spool\""),
            ]
        );
    }

    #[test]
    fn what_stands_inside_or_behind_something_else_is_named() {
        let hidden = |line, name| not_plain(line, name, NotPlain::Hidden);
        let script = "\u{feff}redef Management::Controller::name = \"bom\";
}
redef Management::state_dir = \"/x\";
if ( T )
\t{
\tredef Management::spool_dir = \"/y\";
\tredef Log::default_rotation_interval = 1 min;
\t}
redef Broker::disable_ssl = T;
const mine = \"a redef b\" &redef;
print \"redef c = d\";
";
        assert_eq!(
            statements(script),
            [
                hidden(1, "Management::Controller::name"),
                hidden(3, "Management::state_dir"),
                hidden(6, "Management::spool_dir"),
                hidden(7, "Log::default_rotation_interval"),
                assign(9, "Broker::disable_ssl", "T"),
            ]
        );
        assert_eq!(
            loads_from_beside("@load ./x # here\n@load base/x\n\n  @load ../y/z\n"),
            [(1, "./x".to_owned()), (4, "../y/z".to_owned())]
        );
    }

    #[test]
    fn code_between_statements_does_not_hide_them() {
        let script = "\
event zeek_init()
\t{
\tif ( T ) { print \"}\"; }
\tlocal x = { [1] = 2 };
\t}
function f(): count { return 1; }
export { const mine = T &redef; }
const big = { [\"a\"] = \"b\", };
const quoted = /\"\\/;/ | /;'/;
const half = |x|/2;
function quotes(s: string): bool { return /\"/ in s; }
redef Management::Log::level = Management::Log::DEBUG";
        assert_eq!(
            statements(script),
            [assign(12, "Management::Log::level", "Management::Log::DEBUG")]
        );
    }
}
