//! Names by a pattern, and what name was meant.

/// What a pattern may name.
pub(super) struct Variables<'a> {
    pub(super) instance: &'a str,
    pub(super) role: &'a str,
    pub(super) capture: Option<&'a str>,
    /// Counted from 1, in each capture and role of an instance.
    pub(super) index: u32,
}

/// What is named by its index in a pattern, counted from 1 or from 0.
const INDEXES: [&str; 2] = ["${index}", "${index0}"];

/// Whether a pattern is another text for each node of a group.
pub(super) fn tells_apart(pattern: &str) -> bool {
    INDEXES.iter().any(|index| pattern.contains(index))
}

impl Variables<'_> {
    /// The text of a pattern: `af_packet::${capture}`.
    pub(super) fn filled_in(&self, pattern: &str) -> Result<String, String> {
        let mut text = String::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((before, variable)) = rest.split_once("${") {
            text.push_str(before);
            let (name, behind) = variable.split_once('}').ok_or("a } is missing")?;
            match (name, self.capture) {
                ("instance", _) => text.push_str(self.instance),
                ("role", _) => text.push_str(self.role),
                ("index", _) => text += &self.index.to_string(),
                ("index0", _) => text += &self.index.saturating_sub(1).to_string(),
                ("capture", Some(capture)) => text.push_str(capture),
                ("capture", None) => return Err("${capture} is for workers of a capture".to_owned()),
                _ => {
                    return Err(
                        "after $ there may be {instance}, {role}, {capture}, {index} and {index0}".to_owned(),
                    );
                }
            }
            rest = behind;
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// Names that are longer are not looked at: what was meant is not obvious then.
const MEANT_BYTES_MAX: usize = 64;

/// `; did you mean workers?`, if one of these names is close, else nothing.
pub(super) fn meant<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    if name.len() > MEANT_BYTES_MAX {
        return String::new();
    }
    let near = names.into_iter().filter(|other| other.len() <= MEANT_BYTES_MAX);
    let near = near.map(|other| (distance(name, other), other));
    match near.min() {
        Some((distance, other)) if distance <= 1 + other.len() / 5 => format!("; did you mean {other}?"),
        _ => String::new(),
    }
}

/// How many bytes one has to insert, remove or replace to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, one) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, other) in to.bytes().enumerate() {
            let kept = diagonal + usize::from(one != other);
            diagonal = row[at + 1];
            row[at + 1] = kept.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_filled_in() {
        let mut variables = Variables {
            instance: "sensor1",
            role: "worker",
            capture: Some("eth1"),
            index: 3,
        };
        for (pattern, text) in [
            ("plain", "plain"),
            ("${instance}-${role}-${capture}-${index}", "sensor1-worker-eth1-3"),
            ("napatech::${index0}", "napatech::2"),
            ("$index }", "$index }"),
        ] {
            assert_eq!(variables.filled_in(pattern).as_deref(), Ok(text));
        }
        for (pattern, reason) in [
            ("${index", "a } is missing"),
            ("${worker_index}", "after $ there may be {instance}"),
            ("${}", "after $ there may be {instance}"),
        ] {
            let told = variables.filled_in(pattern).unwrap_err();
            assert!(told.starts_with(reason), "{pattern}: {told}");
        }
        variables.capture = None;
        assert!(variables.filled_in("${capture}").is_err());
    }

    #[test]
    fn what_was_meant_is_said_where_it_is_close() {
        let keys = ["workers", "interface", "env", "memory_max"];
        for (name, told) in [
            ("wrokers", "; did you mean workers?"),
            ("worker", "; did you mean workers?"),
            ("memory-max", "; did you mean memory_max?"),
            ("envs", "; did you mean env?"),
            ("colour", ""),
            ("", ""),
            (&"w".repeat(65), ""),
        ] {
            assert_eq!(meant(name, keys), told, "{name}");
        }
        assert_eq!(distance("wrokers", "workers"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
