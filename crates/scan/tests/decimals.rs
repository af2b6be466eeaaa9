//! Decimals and integers against a reference that works on the text itself, on good, bad and hostile bytes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use scan::{
    Decimal, FORMAT_LEN, NumberError, SCALE_MAX, exact, fixed, format_digits, format_fixed, i64_at, push_fixed, u64_at,
};
use serde_json::value::RawValue;

/// The value at `scale`, by moving the point in the text. The text must be a number.
fn reference(text: &str, scale: u8) -> Result<i64, &'static str> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, digits) = mantissa.strip_prefix('-').map_or((false, mantissa), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let joined = format!("{whole}{fraction}");
    if joined.bytes().all(|digit| digit == b'0') {
        return Ok(0);
    }
    let exponent = exponent.parse::<i64>().unwrap().clamp(-1_000, 1_000);
    let point = whole.len() as i64 + exponent + i64::from(scale);
    let (kept, dropped) = match usize::try_from(point) {
        Ok(point) if point <= joined.len() => joined.split_at(point),
        Ok(point) => (joined.as_str(), &"0".repeat(point - joined.len())[..0]),
        Err(_) => ("", joined.as_str()),
    };
    if dropped.bytes().any(|digit| digit != b'0') {
        return Err("too precise");
    }
    let padded = format!("{kept}{}", "0".repeat(usize::try_from(point).unwrap_or(0).saturating_sub(joined.len())));
    let significant = padded.trim_start_matches('0');
    if significant.len() > 20 {
        return Err("overflow");
    }
    let magnitude: i128 = format!("0{significant}").parse().unwrap();
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| "overflow")
}

fn kind(error: NumberError) -> &'static str {
    match error {
        NumberError::NotANumber { .. } => "not a number",
        NumberError::TooPrecise { .. } => "too precise",
        NumberError::Overflow => "overflow",
    }
}

/// The same text read with and without bytes behind it, which takes different paths.
#[track_caller]
fn in_every_place(text: &str, scale: u8, expected: Result<i64, &'static str>) {
    let expected = expected.map(|mantissa| (mantissa, text.len()));
    for after in [
        "",
        "\"",
        ",",
        "]}",
        "\"                                        ",
        ",\"q\":\"0.25761908\",\"T\":1785641751659}",
    ] {
        let found = fixed(format!("{text}{after}").as_bytes(), scale).map_err(kind);
        assert_eq!(found, expected, "{text:?} at scale {scale}, then {after:?}");
    }
}

#[test]
fn numbers_as_venues_write_them() {
    let check = |text, scale, mantissa| in_every_place(text, scale, Ok(mantissa));
    check("63388.7", 1, 633_887);
    check("63388.7", 8, 6_338_870_000_000);
    check("0.25761908", 8, 25_761_908);
    check("61837.63000000", 2, 6_183_763);
    check("61837.63000000", 18 - 8, 618_376_300_000_000);
    check("123.00000000", 0, 123);
    check("-1.5", 1, -15);
    check("1e-08", 8, 1);
    check("1E-8", 10, 100);
    check("5E3", 0, 5_000);
    check("5e+3", 2, 500_000);
    check("1.25e1", 1, 125);
    check("0", 18, 0);
    check("-0.0", 0, 0);
    check("0e999999999999999999999", 0, 0);
    check("0.000012345678", 12, 12_345_678);
    check("1234567890123456.5", 1, 12_345_678_901_234_565);
    check("0.1234567890123456", 16, 1_234_567_890_123_456);
    check("9.223372036854775807", 18, i64::MAX);
    check("-9.223372036854775808", 18, i64::MIN);
    check("9223372036854775807.000000000000000000000", 0, i64::MAX);
    check("0.0000000000000000000000000000000000000001e40", 0, 1);
    check("100000000000000000000000000000000000000000e-41", 0, 1);
}

#[test]
fn what_does_not_fit_is_refused_and_never_rounded() {
    let check = |text: &str, scale, error| {
        assert_eq!(fixed(text.as_bytes(), scale), Err(error), "{text}");
        assert_eq!(fixed(format!("{text}\"{}", " ".repeat(40)).as_bytes(), scale), Err(error), "{text} in a frame");
    };
    check("0.125", 2, NumberError::TooPrecise { decimals: 3 });
    check("0.1250", 2, NumberError::TooPrecise { decimals: 3 });
    check("1.5", 0, NumberError::TooPrecise { decimals: 1 });
    check("1e-19", 18, NumberError::TooPrecise { decimals: 19 });
    check("0.123456789", 8, NumberError::TooPrecise { decimals: 9 });
    check("0.12345678901234567", 16, NumberError::TooPrecise { decimals: 17 });
    check("1e-99999999999999999999", 18, NumberError::TooPrecise { decimals: u32::MAX });
    check("9223372036854775808", 0, NumberError::Overflow);
    check("-9223372036854775809", 0, NumberError::Overflow);
    check("10", 18, NumberError::Overflow);
    check("99999999.5", 18, NumberError::Overflow);
    check("1e99999999999999999999", 0, NumberError::Overflow);
    check("184467440737095516160", 0, NumberError::Overflow);
}

#[test]
fn what_is_no_number_is_refused_where_it_stops_being_one() {
    for (text, offset) in [
        ("", 0),
        ("-", 1),
        ("+1", 0),
        (".5", 0),
        ("1.", 2),
        ("1.x", 2),
        ("01", 1),
        ("-01.5", 2),
        ("00", 1),
        ("1e", 2),
        ("1e+", 3),
        ("1.5e-x", 5),
        ("x", 0),
        ("--1", 1),
        ("NaN", 0),
        ("-Infinity", 1),
        (" 1", 0),
        ("\u{663}", 0),
    ] {
        assert_eq!(fixed(text.as_bytes(), 8), Err(NumberError::NotANumber { offset }), "{text:?}");
        assert_eq!(exact(text.as_bytes()), Err(NumberError::NotANumber { offset }), "{text:?}");
        let framed = format!("{text}\"{}", " ".repeat(40));
        assert_eq!(fixed(framed.as_bytes(), 8), Err(NumberError::NotANumber { offset }), "{text:?} in a frame");
    }
}

#[test]
fn exact_keeps_the_scale_as_written() {
    let check = |text: &str, mantissa, scale| {
        assert_eq!(exact(text.as_bytes()), Ok((Decimal { mantissa, scale }, text.len())));
        assert_eq!(scan::decimals(text.as_bytes()), Ok(scale.into()));
    };
    check("63388.70", 6_338_870, 2);
    check("61837.63000000", 6_183_763_000_000, 8);
    check("1e-08", 1, 8);
    check("5E3", 5_000, 0);
    check("1.50e1", 150, 1);
    check("-0.0", 0, 1);
    check("170141183460469231731687303715884105727", i128::MAX, 0);
    check("-0.00000000000000000000000000000000000001", -1, 38);
    assert_eq!(exact(b"170141183460469231731687303715884105728"), Err(NumberError::Overflow));
    assert_eq!(exact(b"1e-39"), Err(NumberError::TooPrecise { decimals: 39 }));
    assert_eq!(Decimal { mantissa: 6_338_870, scale: 2 }.trimmed(), Decimal { mantissa: 633_887, scale: 1 });
    assert_eq!(Decimal { mantissa: 15, scale: 1 }.at_scale(0), Err(NumberError::TooPrecise { decimals: 1 }));
    assert_eq!(Decimal { mantissa: i128::MAX, scale: 0 }.at_scale(1), Err(NumberError::Overflow));
}

#[test]
fn integers_stop_at_the_first_other_byte() {
    assert_eq!(u64_at(b"1785641751660,"), Ok((1_785_641_751_660, 13)));
    assert_eq!(u64_at(b"18446744073709551615"), Ok((u64::MAX, 20)));
    assert_eq!(u64_at(b"18446744073709551616"), Err(NumberError::Overflow));
    assert_eq!(u64_at(b"1.5"), Ok((1, 1)));
    assert_eq!(u64_at(b"01"), Err(NumberError::NotANumber { offset: 1 }));
    assert_eq!(u64_at(b"-1"), Err(NumberError::NotANumber { offset: 0 }));
    assert_eq!(i64_at(b"-9223372036854775808"), Ok((i64::MIN, 20)));
    assert_eq!(i64_at(b"-9223372036854775809"), Err(NumberError::Overflow));
    assert_eq!(i64_at(b"9223372036854775808"), Err(NumberError::Overflow));
    assert_eq!(i64_at(b"-x"), Err(NumberError::NotANumber { offset: 1 }));
}

#[test]
fn every_shape_of_number_is_read_by_some_path() {
    let digits = "7182818284590452353602874713";
    for whole in 1..=22 {
        for fraction in 0..=26 {
            for zeros in [0, fraction / 2, fraction] {
                let mut text = digits[..whole].to_owned();
                if fraction > 0 {
                    text += &format!(".{}{}", &digits[..fraction - zeros], "0".repeat(zeros));
                }
                for scale in 0..=SCALE_MAX {
                    in_every_place(&text, scale, reference(&text, scale));
                    in_every_place(&format!("-{text}"), scale, reference(&format!("-{text}"), scale));
                }
            }
        }
    }
}

/// Digits and signs in an order that is often, not always, a number.
fn number_like() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,10})?",
        2 => "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?",
        1 => "-?(0|[1-9][0-9]{0,16})\\.(0{1,20}|[0-9]{1,17}0{1,10})",
        1 => "[-+.eE0-9]{0,45}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn all_paths_agree_with_the_reference(text in number_like(), scale in 0..=SCALE_MAX) {
        // Serde's raw value checks the grammar and nothing else.
        if serde_json::from_str::<&RawValue>(&text).is_ok() {
            in_every_place(&text, scale, reference(&text, scale));
            if let Ok((decimal, _)) = exact(text.as_bytes()) {
                prop_assert_eq!(decimal.at_scale(scale).map_err(kind), reference(&text, scale));
            }
        } else {
            let whole = fixed(text.as_bytes(), scale);
            prop_assert!(!matches!(whole, Ok((_, len)) if len == text.len()), "{text:?} gave {whole:?}");
        }
    }

    #[test]
    fn eighteen_digits_round_trip_at_any_scale(
        digits in 0i64..1_000_000_000_000_000_000, negative: bool, scale in 0..=SCALE_MAX,
    ) {
        let mantissa = if negative { -digits } else { digits };
        let mut out = [0; FORMAT_LEN];
        let text = format_fixed(mantissa, scale, &mut out).to_owned();
        prop_assert_eq!(fixed(text.as_bytes(), scale), Ok((mantissa, text.len())));
        let decimal = exact(text.as_bytes()).unwrap().0;
        prop_assert_eq!(decimal, Decimal { mantissa: mantissa.into(), scale }.trimmed());
        prop_assert!(!text.contains('.') || !text.ends_with('0'), "{text} is not the shortest");
        let mut pushed = Vec::new();
        push_fixed(mantissa, scale, &mut pushed);
        prop_assert_eq!(pushed, text.as_bytes());
    }

    #[test]
    fn any_mantissa_round_trips(mantissa: i64, scale in 0..=SCALE_MAX) {
        let mut out = [0; FORMAT_LEN];
        let text = format_fixed(mantissa, scale, &mut out).as_bytes();
        prop_assert_eq!(fixed(text, scale), Ok((mantissa, text.len())));
        let mut out = [0; FORMAT_LEN];
        prop_assert_eq!(format_digits(mantissa, &mut out), mantissa.to_string());
    }

    #[test]
    fn integers_round_trip_and_overflow(value: u64, shift in 0u32..64, more in "[0-9]{0,4}", after in "[^0-9].{0,40}") {
        let text = format!("{}{more}", value >> shift);
        let expected = if text.starts_with('0') && text.len() > 1 {
            Err("not a number")
        } else {
            text.parse::<u64>().map(|value| (value, text.len())).map_err(|_| "overflow")
        };
        prop_assert_eq!(u64_at(text.as_bytes()).map_err(kind), expected);
        prop_assert_eq!(u64_at(format!("{text}{after}").as_bytes()).map_err(kind), expected);
        let expected = expected.and_then(|(value, len)| {
            Ok((i64::try_from(-i128::from(value)).map_err(|_| "overflow")?, len + 1))
        });
        prop_assert_eq!(i64_at(format!("-{text}{after}").as_bytes()).map_err(kind), expected);
    }

    #[test]
    fn any_bytes_are_read_alike_in_short_and_long_buffers(
        start in number_like(), bytes in prop::collection::vec(any::<u8>(), 0..8), scale: u8,
    ) {
        let mut text = [start.as_bytes(), &bytes].concat();
        let (decimal, unsigned, signed, kept) = (fixed(&text, scale), u64_at(&text), i64_at(&text), exact(&text));
        text.extend_from_slice(&[0; 64]);
        prop_assert_eq!(fixed(&text, scale), decimal);
        prop_assert_eq!(u64_at(&text), unsigned);
        prop_assert_eq!(i64_at(&text), signed);
        prop_assert_eq!(exact(&text), kept);
    }
}
