//! The shape of the code: how long files and functions are, what stands twice, and what imports what.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{production_code, regex, report, rust_files};

/// How many lines any file may have.
const LINES_MAX: usize = 600;

/// How many files may have more than 400 lines.
const LONG_FILES_MAX: usize = 15;

/// How many lines the two daemons may have in a row that are equal: one fewer than this.
const EQUAL_LINES: usize = 10;

#[test]
fn files_are_short() {
    let lengths = rust_files().map(|(path, text)| (text.lines().count(), path));
    let long: Vec<_> = lengths.filter(|(lines, _)| *lines > 400).collect();
    let text = |(lines, path): &(usize, std::path::PathBuf)| format!("{}: {lines} lines", path.display());
    let too_long: Vec<_> = long
        .iter()
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(text)
        .collect();
    report("length", &too_long);
    if long.len() > LONG_FILES_MAX {
        report(
            "files above 400 lines",
            &long.iter().map(text).collect::<Vec<_>>(),
        );
    }
}

/// The functions of a file as rustfmt leaves them, with their first line and their number of lines.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let begins = regex(r"^( *)((pub(\((crate|super)\))?|const|async|unsafe) )*fn .*[^};]$");
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(begins) = begins.captures(line) else {
            continue;
        };
        let ends = |line: &&str| {
            let rest = line.strip_prefix(&begins[1]);
            rest == Some("}") || rest.is_some_and(|rest| rest.starts_with(')') && rest.ends_with(';'))
        };
        let length = lines[at..].iter().position(ends);
        found.extend(length.map(|length| (at + 1, length + 1)));
    }
    found
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let mut count = 0;
    for (path, text) in rust_files() {
        for (line, lines) in functions(&text) {
            count += 1;
            if lines > 80 {
                long.push(format!("{}:{line}: {lines} lines", path.display()));
            }
        }
    }
    assert!(count > 3000, "only {count} functions found");
    report("functions above 80 lines", &long);
}

/// The lines of a file that say something, with their numbers: none that are blank, nor imports.
fn statements(text: &str) -> Vec<(usize, &str)> {
    let mut importing = false;
    let mut said = Vec::new();
    for (number, line) in production_code(text) {
        let line = line.trim();
        importing |= line.starts_with("use ") || line.starts_with("pub use ");
        if !line.is_empty() && !importing {
            said.push((number, line));
        }
        importing &= !line.ends_with(';');
    }
    said
}

#[test]
fn the_two_daemons_share_no_ten_equal_lines() {
    let sources = |folder: &'static str| {
        rust_files().filter(move |(path, _)| path.starts_with(folder) && !path.ends_with("tests.rs"))
    };
    let mut known = BTreeMap::new();
    for (path, text) in sources("mgmt-controller/src") {
        for window in statements(&text).windows(EQUAL_LINES) {
            let lines: Vec<String> = window.iter().map(|(_, line)| (*line).to_owned()).collect();
            known.insert(lines, format!("{}:{}", path.display(), window[0].0));
        }
    }
    assert!(known.len() > 3000, "only {} lines found", known.len());
    let mut copies = Vec::new();
    for (path, text) in sources("mgmt-agent/src") {
        let mut within = false;
        for window in statements(&text).windows(EQUAL_LINES) {
            let lines: Vec<String> = window.iter().map(|(_, line)| (*line).to_owned()).collect();
            let copy = known.get(&lines);
            if let (Some(original), false) = (copy, within) {
                copies.push(format!("{}:{} is as {original}", path.display(), window[0].0));
            }
            within = copy.is_some();
        }
    }
    report("ten lines that both daemons have", &copies);
}

/// A module by its place below the crate's root.
type Module = Vec<String>;

fn module_of(path: &Path) -> Option<(String, Module)> {
    let text = path.to_str()?;
    let (package, file) = text.split_once("/src/")?;
    let is_test = path.iter().any(|part| part == "tests") || text.ends_with("tests.rs");
    let mut parts: Module = file.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        parts.pop();
    }
    (!is_test && parts.first().is_none_or(|first| first != "bin")).then(|| (package.to_owned(), parts))
}

/// What a file imports, each path by itself.
pub(super) fn imports(text: &str) -> Vec<String> {
    let code: Vec<&str> = production_code(text).map(|(_, line)| line).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if let (true, Some(end)) = (
            before.is_empty() || before.starts_with("pub"),
            code[at..].find(';'),
        ) {
            let tree: String = code[at + 4..at + end].split_whitespace().collect();
            expand("", &tree, &mut found);
        }
    }
    found
}

/// Takes a tree of imports apart: `a::{b, c::{d, e}}`.
fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let Some((path, group)) = tree.split_once('{') else {
        found.push(format!("{prefix}{tree}"));
        return;
    };
    let (mut depth, mut from) = (0, 0);
    let group = group.strip_suffix('}').unwrap_or(group);
    for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if from < at {
                    expand(&format!("{prefix}{path}"), &group[from..at], found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// The module that an import of another one names, if it is one of the same crate.
fn imported(modules: &BTreeMap<Module, Vec<String>>, from: &Module, path: &str) -> Option<Module> {
    let mut at = from.clone();
    let mut parts = path.split("::").peekable();
    let first = *parts.peek()?;
    match first {
        "crate" => at.clear(),
        "self" | "super" => {}
        name => {
            let child: Module = at.iter().cloned().chain([name.to_owned()]).collect();
            modules.contains_key(&child).then_some(())?;
        }
    }
    for part in parts {
        match part {
            "crate" | "self" => {}
            "super" => {
                at.pop();
            }
            name => {
                at.push(name.to_owned());
                if !modules.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
        }
    }
    (at != *from).then_some(at)
}

/// Whether a module can be reached from another one without the import that goes there at once.
fn reaches(edges: &BTreeMap<Module, BTreeSet<Module>>, from: &Module, to: &Module) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut queue = vec![from];
    while let Some(at) = queue.pop() {
        for next in edges.get(at).into_iter().flatten() {
            if next == to && at != from {
                return true;
            }
            if next != to && seen.insert(next) {
                queue.push(next);
            }
        }
    }
    false
}

/// Two that import each other are a circle of two.
#[test]
fn imports_go_in_no_circles_of_more_than_two_files() {
    let mut crates: BTreeMap<String, BTreeMap<Module, Vec<String>>> = BTreeMap::new();
    for (path, text) in rust_files() {
        if let Some((package, module)) = module_of(&path) {
            crates.entry(package).or_default().insert(module, imports(&text));
        }
    }
    let mut circled = Vec::new();
    let mut count = 0;
    for (package, modules) in &crates {
        let edges: BTreeMap<Module, BTreeSet<Module>> = modules
            .iter()
            .map(|(module, paths)| {
                let paths = paths.iter().filter_map(|path| imported(modules, module, path));
                (module.clone(), paths.collect())
            })
            .collect();
        for (module, to) in &edges {
            count += to.len();
            if let Some(next) = to.iter().find(|next| reaches(&edges, next, module)) {
                circled.push(format!("{package}: {} -> {}", module.join("::"), next.join("::")));
            }
        }
    }
    assert!(count > 300, "only {count} imports found");
    report("files in circles of imports", &circled);
}
