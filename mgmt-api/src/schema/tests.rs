use serde::{Deserialize, Deserializer, de, forward_to_deserialize_any};

use super::*;
use crate::{
    ClusterEndpoint, Configuration, Instance, Node, NodeConfig, NodeOutputs, NodeStatus, OptionRecord,
    ResultRecord, SupervisedNode, SupervisorStatus,
};

/// Notes the fields that a type asks for.
struct Names<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a record"))
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

#[test]
fn the_model_declares_the_records_as_the_types_do() {
    fn assert<'de, T: Deserialize<'de>>(record: &str) {
        let mut names = Vec::new();
        assert!(T::deserialize(Names(&mut names)).is_err());
        let declared = model::record(record).iter().map(|field| field.name);
        assert_eq!(declared.collect::<Vec<_>>(), names, "{record}");
    }
    assert::<OptionRecord>("Option");
    assert::<Instance>("Instance");
    assert::<Node>("Node");
    assert::<Configuration>("Configuration");
    assert::<NodeStatus>("NodeStatus");
    assert::<ResultRecord>("Result");
    assert::<NodeOutputs>("NodeOutputs");
    assert::<NodeConfig>("NodeConfig");
    assert::<ClusterEndpoint>("ClusterEndpoint");
    assert::<SupervisedNode>("SupervisedNode");
    assert::<SupervisorStatus>("SupervisorStatus");
}

#[test]
fn tables_name_nothing_that_is_not_declared() {
    let dialects = Dialect::ALL.map(Dialect::table);
    for table in dialects
        .into_iter()
        .chain(SupervisorLayout::ALL.map(SupervisorLayout::table))
    {
        for (record, order) in table.records {
            for name in order.split(' ') {
                let is_declared = model::record(record).iter().any(|field| field.name == name);
                let is_own = table.chain().any(|table| {
                    let mut fields = table.fields.iter();
                    fields.any(|(of, field)| of == record && field.name == name)
                });
                assert!(is_declared || is_own, "{record}.{name}");
            }
        }
        for found in table.all() {
            let in_model = found
                .model_name()
                .is_none_or(|name| table.event(name.as_bytes()).is_some())
                || found
                    .model_name()
                    .is_some_and(|name| model::MODEL.event(name.as_bytes()).is_some());
            assert!(in_model, "{}", found.name());
            for field in found.event.args {
                assert_declared(field.of);
            }
            assert_declared(found.event.data);
        }
    }
}

fn assert_declared(of: Type) {
    match of {
        Type::Record(name) => {
            assert!(!model::record(name).is_empty(), "{name}");
            for field in model::record(name) {
                assert_declared(field.of);
            }
        }
        Type::Vector(of)
        | Type::Bag(of)
        | Type::Set(of)
        | Type::Table(of)
        | Type::Only(of)
        | Type::Bare(of) => assert_declared(*of),
        _ => {}
    }
}
