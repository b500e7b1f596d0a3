//! Reals as CAF packs them (CAF, `detail/ieee_754.hpp`, `pack754` and `unpack754`).
//!
//! Ordinary numbers are their IEEE bits. The infinities have each other's bits, NaN has all bits set, and the arithmetic
//! knows no subnormal numbers: written, they come out as something else; read, an exponent of zero has an implicit
//! leading one as every other.

const FRACTION_BITS: u32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT_MAX: u64 = 0x7ff;
const SIGN: u64 = 1 << 63;

const POSITIVE_INFINITY: u64 = 0xfff0_0000_0000_0000;
const NEGATIVE_INFINITY: u64 = 0x7ff0_0000_0000_0000;
const NAN: u64 = u64::MAX;

/// The bits that CAF writes.
pub(super) fn pack(value: f64) -> u64 {
    if value.is_nan() {
        return NAN;
    }
    if value.is_infinite() {
        return if value > 0.0 {
            POSITIVE_INFINITY
        } else {
            NEGATIVE_INFINITY
        };
    }
    let bits = value.to_bits();
    if value.is_subnormal() {
        pack_subnormal(bits)
    } else {
        bits
    }
}

/// CAF normalises the number to 1.f and lets the exponent become zero or negative, which then overwrites the sign.
fn pack_subnormal(bits: u64) -> u64 {
    let fraction = bits & FRACTION;
    // How far the leading one is from where the implicit one of a normal number would be.
    let shift = fraction.leading_zeros() - (63 - FRACTION_BITS);
    let exponent = 1_u64.wrapping_sub(u64::from(shift));
    (bits & SIGN) | (exponent << FRACTION_BITS) | ((fraction << shift) & FRACTION)
}

/// The number that CAF reads.
pub(super) fn unpack(bits: u64) -> f64 {
    let sign = if bits & SIGN == 0 { 1.0 } else { -1.0 };
    match bits {
        POSITIVE_INFINITY => return f64::INFINITY,
        NEGATIVE_INFINITY => return f64::NEG_INFINITY,
        NAN => return f64::NAN,
        0 | SIGN => return f64::from_bits(bits),
        _ => {}
    }
    match (bits >> FRACTION_BITS) & EXPONENT_MAX {
        EXPONENT_MAX => sign * f64::INFINITY,
        0 => sign * f64::from_bits((1 << FRACTION_BITS) | (bits & FRACTION)) / 2.0,
        _ => f64::from_bits(bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patterns of CAF's own header, compiled and run.
    #[test]
    fn special_numbers_are_packed_as_caf_does() {
        for (value, packed) in [
            (0.0, 0),
            (-0.0, SIGN),
            (1.5, 0x3ff8_0000_0000_0000),
            (f64::INFINITY, 0xfff0_0000_0000_0000),
            (f64::NEG_INFINITY, 0x7ff0_0000_0000_0000),
            (f64::NAN, u64::MAX),
            (-f64::NAN, u64::MAX),
            (f64::from_bits(0x000f_ffff_ffff_ffff), 0x000f_ffff_ffff_fffe),
            (f64::from_bits(0x0000_0000_0000_0001), 0xfcd0_0000_0000_0000),
            (f64::from_bits(0x0004_0000_0000_0000), 0xfff0_0000_0000_0000),
            (f64::from_bits(0x0008_0000_0000_0000), 0),
            (f64::MIN_POSITIVE, 0x0010_0000_0000_0000),
        ] {
            assert_eq!(pack(value), packed, "{value:e}");
        }
    }

    #[test]
    fn every_pattern_is_unpacked_as_caf_does() {
        for (packed, value) in [
            (0xfff0_0000_0000_0000, f64::INFINITY),
            (0x7ff0_0000_0000_0000, f64::NEG_INFINITY),
            (0x7ff8_0000_0000_0000, f64::INFINITY),
            (0xfff8_0000_0000_0000, f64::NEG_INFINITY),
            (0x7fff_ffff_ffff_ffff, f64::INFINITY),
            (0x0000_0000_0000_0001, f64::from_bits(0x0008_0000_0000_0000)),
            (0x8000_0000_0000_0003, -f64::from_bits(0x0008_0000_0000_0002)),
            (0x000f_ffff_ffff_fffe, f64::from_bits(0x000f_ffff_ffff_ffff)),
            (0x0010_0000_0000_0000, f64::MIN_POSITIVE),
            (0x7fef_ffff_ffff_ffff, f64::MAX),
        ] {
            assert_eq!(unpack(packed).to_bits(), value.to_bits(), "{packed:#x}");
        }
        assert!(unpack(u64::MAX).is_nan());
        assert_eq!(unpack(SIGN).to_bits(), SIGN);
        assert!((-1.7e293..-1.5e293).contains(&unpack(0xfcd0_0000_0000_0000)));
    }

    /// The arithmetic of CAF's header, step by step.
    fn pack_slowly(value: f64) -> u64 {
        let (sign, mut norm) = if value < 0.0 { (SIGN, -value) } else { (0, value) };
        let mut shift = 0_u64;
        while norm >= 2.0 {
            norm /= 2.0;
            shift += 1;
        }
        while norm < 1.0 {
            norm *= 2.0;
            shift = shift.wrapping_sub(1);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below 2^52"
        )]
        let fraction = ((norm - 1.0) * 2_f64.powi(52)) as u64;
        sign | (shift.wrapping_add(1023) << FRACTION_BITS) | fraction
    }

    fn unpack_slowly(bits: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "52 bits")]
        let mut value = (bits & FRACTION) as f64 / 2_f64.powi(52) + 1.0;
        let exponent = (bits >> FRACTION_BITS) & EXPONENT_MAX;
        for _ in 1023..exponent {
            value *= 2.0;
        }
        for _ in exponent..1023 {
            value /= 2.0;
        }
        if bits & SIGN == 0 { value } else { -value }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_arithmetic(bits: u64) {
            for bits in [bits, bits & (SIGN | FRACTION), bits & FRACTION >> (bits >> 58), bits | EXPONENT_MAX << 52] {
                let value = f64::from_bits(bits);
                if value.is_finite() && value != 0.0 {
                    proptest::prop_assert_eq!(pack(value), pack_slowly(value));
                }
                if ![0, SIGN, POSITIVE_INFINITY, NEGATIVE_INFINITY, NAN].contains(&bits) {
                    proptest::prop_assert_eq!(unpack(bits).to_bits(), unpack_slowly(bits).to_bits());
                }
            }
        }
    }
}
