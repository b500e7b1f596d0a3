//! The places where two events differ, by Zeek's names for them.

use broker_codec::{Data, data::Kind, zeek::Event};
use mgmt_api::schema::{Field, Layout, Type};

/// A place where two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) path: String,
    /// What should stand there; `None` if there should be nothing.
    pub(super) expected: Option<Data>,
    /// What stands there.
    pub(super) got: Option<Data>,
}

impl Mismatch {
    pub(super) fn new(path: &str, expected: Data, got: Data) -> Self {
        Self {
            path: path.to_owned(),
            expected: Some(expected),
            got: Some(got),
        }
    }
}

/// Where the arguments of an event differ. Of what has no order in Zeek the order does not count: nothing is returned if
/// only that differs.
pub(super) fn mismatches(expected: &Event, got: &[Data]) -> Vec<Mismatch> {
    let layout = Layout::of(expected);
    let mut comparison = Comparison::new(layout);
    comparison.fields(layout.args(), &expected.args, got);
    comparison.found
}

/// Where two stored configurations differ.
pub(super) fn stored_mismatches(expected: Option<&Data>, got: Option<&Data>) -> Vec<Mismatch> {
    let mut comparison = Comparison::new(Layout::MODEL);
    if expected.is_some() || got.is_some() {
        comparison.pair(Type::Record("Configuration"), expected, got);
    }
    comparison.found
}

/// A path without its indices, as rules name it: `results[].node`.
pub(super) fn without_indices(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for char in path.chars() {
        match char {
            '[' => {
                inside = true;
                out.push('[');
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            _ if inside => {}
            char => out.push(char),
        }
    }
    out
}

struct Comparison {
    layout: Layout,
    path: String,
    found: Vec<Mismatch>,
}

impl Comparison {
    const fn new(layout: Layout) -> Self {
        Self {
            layout,
            path: String::new(),
            found: Vec::new(),
        }
    }

    fn at(&mut self, part: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && !part.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(part);
        inside(self);
        self.path.truncate(length);
    }

    fn differ(&mut self, expected: Option<&Data>, got: Option<&Data>) {
        self.found.push(Mismatch {
            path: self.path.clone(),
            expected: expected.cloned(),
            got: got.cloned(),
        });
    }

    fn pair(&mut self, of: Type, expected: Option<&Data>, got: Option<&Data>) {
        match (expected, got) {
            (Some(expected), Some(got)) => self.value(of, expected, got),
            (expected, got) => self.differ(expected, got),
        }
    }

    fn value(&mut self, of: Type, expected: &Data, got: &Data) {
        if expected == got {
            return;
        }
        let of = if of == Type::Any { self.layout.data() } else { of };
        match (of, expected, got) {
            (Type::Record(name), Data::Vector(expected), Data::Vector(got)) => {
                // Later releases have more at the end.
                let mut fields = self.layout.fields(name);
                fields.extend(Layout::MODEL.fields(name).into_iter().skip(fields.len()));
                self.fields(&fields, expected, got);
            }
            (Type::Only(of) | Type::Bare(of), expected, got) => self.value(*of, expected, got),
            (Type::Bag(of), Data::Vector(expected), Data::Vector(got)) => self.bag(*of, expected, got),
            (of, Data::Vector(expected), Data::Vector(got)) => self.list(within(of), expected, got),
            (of, Data::Set(expected), Data::Set(got)) => {
                self.list(within(of), expected.as_slice(), got.as_slice());
            }
            (of, Data::Table(expected_entries), Data::Table(got_entries)) => {
                let of = within(of);
                for (key, value) in expected_entries {
                    self.at(&format!("[{key}]"), |inside| {
                        inside.pair(of, Some(value), got_entries.get(key));
                    });
                }
                for (key, value) in got_entries {
                    if expected_entries.get(key).is_none() {
                        self.at(&format!("[{key}]"), |inside| inside.pair(of, None, Some(value)));
                    }
                }
            }
            _ => self.differ(Some(expected), Some(got)),
        }
    }

    fn fields(&mut self, fields: &[Field], expected: &[Data], got: &[Data]) {
        for index in 0..expected.len().max(got.len()) {
            let (expected, got) = (expected.get(index), got.get(index));
            match fields.get(index) {
                Some(field) => self.at(field.name, |inside| inside.pair(field.of, expected, got)),
                None => self.at(&format!("[{index}]"), |inside| {
                    inside.pair(UNNAMED, expected, got);
                }),
            }
        }
    }

    fn list(&mut self, of: Type, expected: &[Data], got: &[Data]) {
        for index in 0..expected.len().max(got.len()) {
            self.at(&format!("[{index}]"), |inside| {
                inside.pair(of, expected.get(index), got.get(index));
            });
        }
    }

    /// Pairs each with what differs least from it. The indices are those of what was expected.
    fn bag(&mut self, of: Type, expected: &[Data], got: &[Data]) {
        let mut left: Vec<&Data> = got.iter().collect();
        let mut unpaired: Vec<(usize, &Data)> = expected.iter().enumerate().collect();
        unpaired.retain(|(_, element)| {
            let alike = left.iter().position(|other| other == element);
            alike.map(|position| left.remove(position)).is_none()
        });
        for (index, element) in unpaired {
            let others = left.iter().enumerate();
            let likest = others.min_by_key(|(_, other)| self.probe(of, element, other));
            let other = likest
                .map(|(position, _)| position)
                .map(|position| left.remove(position));
            self.at(&format!("[{index}]"), |inside| {
                inside.pair(of, Some(element), other);
            });
        }
        for (index, other) in left.into_iter().enumerate() {
            let index = expected.len() + index;
            self.at(&format!("[{index}]"), |inside| inside.pair(of, None, Some(other)));
        }
    }

    /// In how many places two values differ.
    fn probe(&self, of: Type, expected: &Data, got: &Data) -> usize {
        let mut comparison = Self::new(self.layout);
        comparison.value(of, expected, got);
        comparison.found.len()
    }
}

/// What has no declaration.
const UNNAMED: Type = Type::Plain(Kind::None);

/// What a list or a table holds.
const fn within(of: Type) -> Type {
    match of {
        Type::Vector(of) | Type::Set(of) | Type::Table(of) => *of,
        _ => UNNAMED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Data {
        Data::String(text.into())
    }

    fn result(reqid: &str, node: &str, success: bool) -> Data {
        Data::Vector(vec![
            text(reqid),
            Data::Boolean(success),
            text("instance-1"),
            Data::None,
            Data::None,
            text(node),
        ])
    }

    fn paths(event: &str, expected: &[Data], got: &[Data]) -> Vec<String> {
        let event = Event {
            name: event.into(),
            args: expected.to_vec(),
            metadata: None,
        };
        let found = mismatches(&event, got);
        found.into_iter().map(|mismatch| mismatch.path).collect()
    }

    #[test]
    fn the_order_of_results_does_not_count_but_what_they_say_does() {
        let event = "Management::Controller::API::restart_response";
        let [a, b] = [result("r", "a", true), result("r", "b", true)];
        let expected = [text("r"), Data::Vector(vec![a.clone(), b.clone()])];
        assert!(
            paths(
                event,
                &expected,
                &[text("r"), Data::Vector(vec![b.clone(), a.clone()])]
            )
            .is_empty()
        );
        let failed = result("r", "b", false);
        assert_eq!(
            paths(
                event,
                &expected,
                &[text("r"), Data::Vector(vec![failed, a.clone()])]
            ),
            ["results[1].success"]
        );
        assert_eq!(
            paths(event, &expected, &[text("r"), Data::Vector(vec![a])]),
            ["results[1]"]
        );
        // Staging says what is wrong in an order.
        let staged = "Management::Controller::API::stage_configuration_response";
        assert!(
            !paths(
                staged,
                &expected,
                &[text("r"), Data::Vector(vec![b.clone(), expected[1].clone()])]
            )
            .is_empty()
        );
    }

    #[test]
    fn a_result_is_named_in_its_own_order() {
        let event = "Management::Agent::API::agent_welcome_response";
        let old = |instance: &str| {
            let fields = vec![
                text("r"),
                text(instance),
                Data::Boolean(true),
                Data::None,
                text(""),
                Data::None,
            ];
            [text("r"), Data::Vector(fields)]
        };
        assert_eq!(paths(event, &old("a"), &old("b")), ["result.instance"]);
    }

    #[test]
    fn what_has_no_name_has_a_number() {
        assert_eq!(
            paths("Module::unheard_of", &[text("a"), Data::Count(1)], &[text("a")]),
            ["[1]"]
        );
        assert_eq!(without_indices("results[12].data[0].p"), "results[].data[].p");
    }
}
