use broker_codec::{
    Data,
    data::{EnumValue, Real, Set, Table},
    json,
};

pub(super) fn string(text: &str) -> Data {
    Data::String(text.into())
}

pub(super) fn enum_value(name: &str) -> Data {
    Data::EnumValue(EnumValue(name.into()))
}

pub(super) fn real(value: f64) -> Data {
    Data::Real(Real(value))
}

/// A value by its text in Broker's JSON.
pub(super) fn leaf(kind: &str, text: &str) -> Data {
    let text = format!(r#"{{"@data-type":"{kind}","data":{text}}}"#);
    json::decode(text.as_bytes()).expect("a value")
}

pub(super) fn set(elements: Vec<Data>) -> Data {
    Data::Set(Set::try_from(elements).expect("no duplicates"))
}

pub(super) fn table(entries: Vec<(Data, Data)>) -> Data {
    Data::Table(Table::try_from(entries).expect("no duplicates"))
}
