use serde::Deserialize;
use serde_aux::serde_introspection::serde_introspect;

use super::*;
use crate::{
    ClusterEndpoint, Configuration, Dialect, Instance, Node, NodeConfig, NodeOutputs, NodeStatus,
    OptionRecord, ResultRecord, SupervisedNode, SupervisorLayout, SupervisorStatus,
};

#[test]
fn the_model_declares_the_records_as_the_types_do() {
    fn assert<'de, T: Deserialize<'de>>(record: &str) {
        let declared = model::record(record).iter().map(|field| field.name);
        assert_eq!(declared.collect::<Vec<_>>(), serde_introspect::<T>(), "{record}");
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
