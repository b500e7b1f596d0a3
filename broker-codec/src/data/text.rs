//! The text forms of leaves, as Broker's JSON has them (`format/json.hh`, `internal/json.cc`).

use std::{fmt, net::IpAddr, str::FromStr};

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use nom::{
    AsChar, IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_while_m_n},
    character::complete::{char, digit1, one_of, u8 as number8, u16 as number16},
    combinator::{map_res, opt, recognize, value},
    sequence::{preceded, terminated},
};

use super::{
    kind::Kind,
    leaf::{Address, EnumValue, Port, Protocol, Subnet, Timespan, Timestamp},
};

/// Text is not a value of the kind that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind}: {reason}")]
pub struct TextError {
    pub kind: Kind,
    pub reason: &'static str,
}

const NANOS_PER_SEC: i64 = 1_000_000_000;
const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl FromStr for Address {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        text.parse::<IpAddr>().map(Self::from).map_err(|_| TextError {
            kind: Kind::Address,
            reason: "expected an IPv4 or IPv6 address",
        })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.family_length())
    }
}

/// Host bits are masked off.
impl FromStr for Subnet {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let error = |reason| TextError {
            kind: Kind::Subnet,
            reason,
        };
        let (address, length) = text.split_once('/').ok_or(error("expected address/length"))?;
        let address: Address = address
            .parse()
            .map_err(|_| error("expected an IPv4 or IPv6 address"))?;
        let length = complete(number8, length).ok_or(error("expected a prefix length"))?;
        // DIFFERENCE(json-out-of-range): Broker takes a length beyond the address's bits for ::/0 without a word.
        let net =
            ipnet::IpNet::new(address.into(), length).map_err(|_| error("prefix length out of range"))?;
        Ok(net.trunc().into())
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.name())
    }
}

/// Without a slash the protocol is TCP, an unknown word is [`Protocol::Unknown`].
impl FromStr for Port {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        // DIFFERENCE(json-out-of-range): Broker takes the number modulo 65536.
        let number = complete(number16, number).ok_or(TextError {
            kind: Kind::Port,
            reason: "expected number/protocol with a number up to 65535",
        })?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "icmp" => Protocol::Icmp,
            _ => Protocol::Unknown,
        };
        Ok(Self { number, protocol })
    }
}

/// ISO 8601 in UTC, with as many fraction digits as needed: nothing is lost. What Broker's JSON has, in milliseconds,
/// is written by [`crate::json`].
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_seconds(self.0.div_euclid(NANOS_PER_SEC), f)?;
        let nanos = self.0.rem_euclid(NANOS_PER_SEC);
        if nanos == 0 {
            Ok(())
        } else {
            f.write_str(format!(".{nanos:09}").trim_end_matches('0'))
        }
    }
}

/// Writes `YYYY-MM-DDThh:mm:ss` for a Unix time.
pub(crate) fn write_seconds(seconds: i64, out: &mut (impl fmt::Write + ?Sized)) -> fmt::Result {
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| fmt::Error)?;
    let time = Offset::UTC.to_datetime(time);
    write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}

/// ISO 8601 with `T`, up to nine fraction digits and an optional zone, UTC without one.
impl FromStr for Timestamp {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let error = |reason| TextError {
            kind: Kind::Timestamp,
            reason,
        };
        let parts = (
            terminated(date, char('T')),
            time_of_day,
            opt(preceded(char('.'), fraction)),
            opt(zone_seconds),
        );
        let (date, time, nanos, zone) = complete(parts, text).ok_or(error(
            "expected YYYY-MM-DDThh:mm:ss with an optional fraction and zone",
        ))?;
        let out_of_range = error("not within the years 1677 to 2262");
        let seconds = Offset::UTC
            .to_timestamp(DateTime::from_parts(date, time))
            .map_err(|_| out_of_range)?
            .as_second()
            - zone.unwrap_or_default();
        // In 64 bits the seconds alone of the earliest timestamps are out of range, with the fraction they are not.
        (i128::from(seconds) * i128::from(NANOS_PER_SEC) + i128::from(nanos.unwrap_or_default()))
            .try_into()
            .map(Self)
            .map_err(|_| out_of_range)
    }
}

/// An integer and the largest unit out of s, ms, us and ns that is exact.
impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (NANOS_PER_SEC, "s"),
            (NANOS_PER_MILLI, "ms"),
            (NANOS_PER_MICRO, "us"),
        ];
        let (divisor, unit) = units
            .into_iter()
            .find(|(divisor, _)| self.0 % divisor == 0)
            .unwrap_or((1, "ns"));
        write!(f, "{}{unit}", self.0 / divisor)
    }
}

/// A signed integer and one of ns, us, ms, s, min, h and d.
impl FromStr for Timespan {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        const MINUTE: i64 = 60 * NANOS_PER_SEC;
        // DIFFERENCE(json-timespan-days): Broker's documentation lists `d` and zeek-client writes it; Broker's code does not read it.
        let unit = alt((
            value(1, tag("ns")),
            value(NANOS_PER_MICRO, tag("us")),
            value(NANOS_PER_MILLI, tag("ms")),
            value(MINUTE, tag("min")),
            value(NANOS_PER_SEC, tag("s")),
            value(60 * MINUTE, tag("h")),
            value(24 * 60 * MINUTE, tag("d")),
        ));
        let error = |reason| TextError {
            kind: Kind::Timespan,
            reason,
        };
        let (number, unit) = complete((recognize((opt(char('-')), digit1)), unit), text)
            .ok_or(error("expected an integer and one of ns, us, ms, s, min, h, d"))?;
        number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .ok_or(error("more than 64 bits of nanoseconds"))
    }
}

impl fmt::Display for EnumValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a parser reads if it uses up its input. Why it does not is said by the caller.
fn complete<'a, T>(mut parser: impl Parser<&'a str, Output = T, Error = ()>, text: &'a str) -> Option<T> {
    let (rest, parsed) = parser.parse(text).ok()?;
    rest.is_empty().then_some(parsed)
}

fn two_digits(input: &str) -> IResult<&str, i8, ()> {
    map_res(take_while_m_n(2, 2, AsChar::is_dec_digit), str::parse).parse(input)
}

fn date(input: &str) -> IResult<&str, Date, ()> {
    let year = map_res(take_while_m_n(4, 4, AsChar::is_dec_digit), str::parse);
    map_res(
        (
            year,
            preceded(char('-'), two_digits),
            preceded(char('-'), two_digits),
        ),
        |(year, month, day)| Date::new(year, month, day),
    )
    .parse(input)
}

fn time_of_day(input: &str) -> IResult<&str, Time, ()> {
    map_res(
        (
            two_digits,
            preceded(char(':'), two_digits),
            preceded(char(':'), two_digits),
        ),
        |(hour, minute, second)| Time::new(hour, minute, second, 0),
    )
    .parse(input)
}

/// One to nine digits behind a decimal point, as nanoseconds.
fn fraction(input: &str) -> IResult<&str, u32, ()> {
    map_res(take_while_m_n(1, 9, AsChar::is_dec_digit), |digits: &str| {
        format!("{digits:0<9}").parse()
    })
    .parse(input)
}

/// The offset of a zone from UTC: `Z`, `+hh:mm`, `+hhmm` or `+hh`.
fn zone_seconds(input: &str) -> IResult<&str, i64, ()> {
    let minutes = opt(preceded(opt(char(':')), two_digits));
    let offset = map_res((one_of("+-"), two_digits, minutes), |(sign, hours, minutes)| {
        let time = Time::new(hours, minutes.unwrap_or_default(), 0, 0)?;
        let seconds = 3600 * i64::from(time.hour()) + 60 * i64::from(time.minute());
        Ok::<_, jiff::Error>(if sign == '-' { -seconds } else { seconds })
    });
    alt((value(0, char('Z')), offset)).parse(input)
}

#[cfg(test)]
mod tests;
