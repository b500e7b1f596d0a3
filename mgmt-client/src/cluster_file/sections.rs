//! The lines of a cluster file as Python's `configparser` takes them, by which zeek-client reads it.

use super::FileError;

/// A key with its value, if it has one.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// In small letters.
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) line: usize,
}

#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) items: Vec<Item>,
}

/// The section whose keys every other one has, too.
const DEFAULT: &str = "DEFAULT";

impl Section {
    pub(super) fn item(&self, key: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }
}

/// The sections of a file, in their order.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, FileError> {
    let mut sections: Vec<Section> = Vec::new();
    // How far the last key is indented; a line that is indented further goes on with its value.
    let mut indent = None;
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim();
        let item = sections.last_mut().and_then(|section| section.items.last_mut());
        let item = item.filter(|_| indent.is_some());
        if content.is_empty() {
            if let Some(value) = item.and_then(|item| item.value.as_mut()) {
                value.push('\n');
            }
            continue;
        }
        if content.starts_with(['#', ';']) {
            continue;
        }
        let level = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(item) = item.filter(|_| indent.is_some_and(|indent| level > indent)) {
            let Some(value) = &mut item.value else {
                let reason = format!(
                    "this goes on with the line above, as it is indented, and {} has no value",
                    item.key
                );
                return Err(FileError::at(number, reason));
            };
            value.push('\n');
            value.push_str(content);
            continue;
        }
        if let Some(name) = header(content) {
            if let Some(first) = sections.iter().find(|section| section.name == name) {
                let reason = format!("there is a section [{name}] already, at line {}", first.line);
                return Err(FileError::at(number, reason));
            }
            indent = None;
            sections.push(Section {
                name: name.to_owned(),
                line: number,
                items: Vec::new(),
            });
            continue;
        }
        indent = Some(level);
        let Some(section) = sections.last_mut() else {
            return Err(FileError::at(
                number,
                "a section such as [instances] must come first",
            ));
        };
        let item = item_of(content, number)?;
        if let Some(first) = section.item(&item.key) {
            let reason = format!(
                "section [{}] has a key {} already, at line {}",
                section.name, item.key, first.line
            );
            return Err(FileError::at(number, reason));
        }
        section.items.push(item);
    }
    complete(sections)
}

/// The name of a section.
fn header(content: &str) -> Option<&str> {
    let (name, _) = content.strip_prefix('[')?.rsplit_once(']')?;
    Some(name).filter(|name| !name.is_empty())
}

fn item_of(content: &str, line: usize) -> Result<Item, FileError> {
    let (key, value) = match content.split_once(['=', ':']) {
        Some((key, value)) => (key, Some(value.trim().to_owned())),
        None => (content, None),
    };
    let key = key.trim().to_lowercase();
    if key.is_empty() {
        return Err(FileError::at(line, "there is no key before the value"));
    }
    Ok(Item { key, value, line })
}

/// What can be said when all lines are read.
fn complete(mut sections: Vec<Section>) -> Result<Vec<Section>, FileError> {
    for item in sections.iter_mut().flat_map(|section| &mut section.items) {
        if let Some(value) = &mut item.value {
            *value = without_percent_signs(value.trim_end(), item.line)?;
        }
    }
    let Some(at) = sections.iter().position(|section| section.name == DEFAULT) else {
        return Ok(sections);
    };
    let defaults = sections.remove(at).items;
    for section in &mut sections {
        let lacking = defaults.iter().filter(|item| section.item(&item.key).is_none());
        let lacking: Vec<Item> = lacking.cloned().collect();
        section.items.extend(lacking);
    }
    Ok(sections)
}

/// `%%` stands for `%`.
fn without_percent_signs(value: &str, line: usize) -> Result<String, FileError> {
    let plain = value.replace("%%", "");
    if plain.contains('%') {
        return Err(FileError::at(
            line,
            "a % is written as %% here; references such as %(port)s are not read",
        ));
    }
    Ok(value.replace("%%", "%"))
}
