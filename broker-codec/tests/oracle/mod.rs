//! The formats once more, without regard to speed, memory or good errors.

use broker_codec::{
    Data,
    data::{
        Address, DEPTH_MAX, EnumValue, Port, Protocol, Real, Set, Subnet, Table, Timespan, Timestamp,
        ZeekString,
    },
};
use nom::{
    IResult, Parser,
    bytes::complete::take,
    combinator::{all_consuming, fail, map, map_opt, success, verify},
    multi::{count, length_data},
    number::complete::{be_i64, be_u8, be_u16, be_u64},
};
use serde_json::Value;

type Parsed<'a, T> = IResult<&'a [u8], T>;

/// A value in the binary format.
pub(crate) fn binary(input: &[u8]) -> Option<Data> {
    let value = |input| value(DEPTH_MAX, input);
    all_consuming(value).parse(input).ok().map(|(_, data)| data)
}

fn value(depth: usize, input: &[u8]) -> Parsed<'_, Data> {
    let (input, tag) = be_u8(input)?;
    let (below, is_container) = (depth.wrapping_sub(1), tag >= 12);
    if is_container && depth == 0 {
        return fail().parse(input);
    }
    match tag {
        0 => success(Data::None).parse(input),
        1 => map(be_u8, |byte| Data::Boolean(byte != 0)).parse(input),
        2 => map(be_u64, Data::Count).parse(input),
        3 => map(be_i64, Data::Integer).parse(input),
        4 => map(be_u64, |bits| Data::Real(Real(real(bits)))).parse(input),
        5 => map(string, Data::String).parse(input),
        6 => map(address, Data::Address).parse(input),
        7 => map((address, be_u8), |(address, length)| {
            Data::Subnet(Subnet { address, length })
        })
        .parse(input),
        8 => map_opt((be_u16, be_u8), |(number, code)| {
            let protocol = Protocol::from_code(code)?;
            Some(Data::Port(Port { number, protocol }))
        })
        .parse(input),
        9 => map(be_i64, |nanos| Data::Timestamp(Timestamp(nanos))).parse(input),
        10 => map(be_i64, |nanos| Data::Timespan(Timespan(nanos))).parse(input),
        11 => map(string, |name| Data::EnumValue(EnumValue(name))).parse(input),
        12 => map_opt(|input| elements(below, 1, input), set).parse(input),
        13 => map_opt(|input| elements(below, 2, input), |flat| table(&flat)).parse(input),
        14 => map(|input| elements(below, 1, input), Data::Vector).parse(input),
        _ => fail().parse(input),
    }
}

/// The elements of a container, `each` after the other for one of its count.
fn elements(depth: usize, each: usize, input: &[u8]) -> Parsed<'_, Vec<Data>> {
    let (input, len) = verify(varbyte, |len| *len <= input.len()).parse(input)?;
    count(|input| value(depth, input), len * each).parse(input)
}

fn varbyte(input: &[u8]) -> Parsed<'_, usize> {
    let length = 1 + input.iter().take_while(|byte| **byte >= 0x80).count();
    map_opt(take(length), |bytes: &[u8]| {
        let is_shortest = bytes.len() == 1 || bytes.last() != Some(&0);
        let number = bytes.iter().rev().try_fold(0_u32, |number, byte| {
            number.checked_mul(128)?.checked_add(u32::from(byte & 0x7f))
        });
        number.filter(|_| is_shortest)?.try_into().ok()
    })
    .parse(input)
}

fn string(input: &[u8]) -> Parsed<'_, ZeekString> {
    map(length_data(varbyte), ZeekString::from).parse(input)
}

fn address(input: &[u8]) -> Parsed<'_, Address> {
    map_opt(take(16_usize), |bytes: &[u8]| {
        bytes.try_into().ok().map(Address::from_bytes)
    })
    .parse(input)
}

/// As CAF's `unpack754` computes it.
fn real(bits: u64) -> f64 {
    match bits {
        0 => 0.0,
        0x8000_0000_0000_0000 => -0.0,
        0xfff0_0000_0000_0000 => f64::INFINITY,
        0x7ff0_0000_0000_0000 => f64::NEG_INFINITY,
        u64::MAX => f64::NAN,
        _ => {
            let exponent = i32::try_from(bits >> 52 & 0x7ff).unwrap() - 1023;
            // 1.f as a number of its own, then scaled in two steps that do not overflow on the way.
            let significand = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
            let half = exponent / 2;
            let value = significand * 2_f64.powi(half) * 2_f64.powi(exponent - half);
            if bits >> 63 == 0 { value } else { -value }
        }
    }
}

/// Whether no two are the same; comparing each with each.
fn are_unique<'a>(values: &(impl Iterator<Item = &'a Data> + Clone)) -> bool {
    let has_nan = |value: &Data| format!("{value:?}").contains("NaN");
    values.clone().enumerate().all(|(index, left)| {
        values.clone().skip(index + 1).all(|right| {
            left != right && !((has_nan(left) || has_nan(right)) && same_but_for_nan(left, right))
        })
    })
}

/// Whether Broker takes two values for the same: NaN is no less and no greater than any real.
fn same_but_for_nan(left: &Data, right: &Data) -> bool {
    let all = |left: &mut dyn Iterator<Item = &Data>, right: &mut dyn Iterator<Item = &Data>| {
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(left), Some(right)) if same_but_for_nan(left, right) => {}
                _ => return false,
            }
        }
    };
    match (left, right) {
        (Data::Real(left), Data::Real(right)) => left.0.is_nan() || right.0.is_nan() || left == right,
        (Data::Vector(left), Data::Vector(right)) => all(&mut left.iter(), &mut right.iter()),
        (Data::Set(left), Data::Set(right)) => all(&mut left.iter(), &mut right.iter()),
        (Data::Table(left), Data::Table(right)) => all(
            &mut left.iter().flat_map(|(key, value)| [key, value]),
            &mut right.iter().flat_map(|(key, value)| [key, value]),
        ),
        _ => left == right,
    }
}

fn set(elements: Vec<Data>) -> Option<Data> {
    are_unique(&elements.iter()).then(|| Data::Set(Set::from_iter(elements)))
}

fn table(flat: &[Data]) -> Option<Data> {
    let entries: Vec<(Data, Data)> = flat
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    if !are_unique(&entries.iter().map(|(key, _)| key)) {
        return None;
    }
    Table::try_from(entries).ok().map(Data::Table)
}

/// What is to be said of a text.
pub(crate) enum Verdict {
    /// It is this value.
    Value(Data),
    /// It is JSON, but no value.
    Refused,
    /// It is not standard JSON. The reader may take it all the same.
    Unknown,
}

/// A value in the JSON format.
pub(crate) fn json(text: &[u8]) -> Verdict {
    let Ok(document) = serde_json::from_slice::<Value>(text) else {
        return Verdict::Unknown;
    };
    // A document keeps the last of members of the same name, the reader refuses them.
    let colons = |text: &str| text.matches(':').count();
    if std::str::from_utf8(text).is_ok_and(|text| colons(text) != colons(&document.to_string())) {
        return Verdict::Unknown;
    }
    json_value(&document, DEPTH_MAX).map_or(Verdict::Refused, Verdict::Value)
}

fn json_value(value: &Value, depth: usize) -> Option<Data> {
    let kind = value.as_object()?.get("@data-type")?.as_str()?;
    let data = value.as_object()?.get("data")?;
    let below = || depth.checked_sub(1);
    Some(match kind {
        "none" => Data::None,
        "boolean" => Data::Boolean(data.as_bool()?),
        "count" => Data::Count(data.as_u64()?),
        "integer" => Data::Integer(data.as_i64()?),
        "real" => match data {
            Value::String(text) if ["nan", "inf", "-inf"].contains(&text.as_str()) => {
                Data::Real(Real(text.parse().unwrap()))
            }
            _ => Data::Real(Real(data.as_number()?.as_f64()?)),
        },
        "string" => Data::String(data.as_str()?.into()),
        "enum-value" => Data::EnumValue(EnumValue(data.as_str()?.into())),
        "address" => Data::Address(data.as_str()?.parse().ok()?),
        "subnet" => Data::Subnet(data.as_str()?.parse().ok()?),
        "port" => Data::Port(data.as_str()?.parse().ok()?),
        "timestamp" => Data::Timestamp(data.as_str()?.parse().ok()?),
        "timespan" => Data::Timespan(data.as_str()?.parse().ok()?),
        "vector" => Data::Vector(json_values(data, below()?)?),
        "set" => set(json_values(data, below()?)?)?,
        "table" => {
            let depth = below()?;
            let entries = data.as_array()?.iter().map(|entry| {
                let member = |name| json_value(entry.as_object()?.get(name)?, depth);
                Some([member("key")?, member("value")?])
            });
            table(entries.collect::<Option<Vec<_>>>()?.as_flattened())?
        }
        _ => return None,
    })
}

fn json_values(data: &Value, depth: usize) -> Option<Vec<Data>> {
    data.as_array()?
        .iter()
        .map(|element| json_value(element, depth))
        .collect()
}
