//! Canonical JSON: one text for one value, so that its hash names it.
//!
//! RFC 8785 (JSON Canonicalization Scheme): members are sorted by UTF-16 code units, numbers and strings are printed as
//! ECMAScript's `JSON.stringify` prints them, so a JavaScript producer gets the same hash.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// The canonical text of a value, without the members of these names at any level. Cannot fail: a `Value` holds no NaN, no
/// infinity and no lone surrogate.
///
/// Recursion is as deep as the value; `serde_json` reads at most 128 levels.
pub fn canonical(value: &Value, left_out: &[&str]) -> String {
    let mut out = String::new();
    write_value(&mut out, value, left_out);
    out
}

fn write_value(out: &mut String, value: &Value, left_out: &[&str]) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item, left_out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(key, _)| !left_out.contains(&key.as_str())).collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (key, item)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write_value(out, item, left_out);
            }
            out.push('}');
        }
    }
}

/// ECMAScript has one number type, a double: integers beyond 2⁵³ round as `JSON.parse` rounds them. That decimals do too
/// needs the `float_roundtrip` feature of `serde_json`; without it the last bit of a long decimal, and so the id, can
/// differ from what a JavaScript producer computed. A test below holds it.
fn write_number(out: &mut String, number: &Number) {
    match number.as_f64() {
        Some(double) if double.is_finite() => out.push_str(ryu_js::Buffer::new().format_finite(double)),
        // What `JSON.stringify` prints for a number that is none; only an `arbitrary_precision` build gets here.
        _ => out.push_str("null"),
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical_json(value: &Value) -> String {
        canonical(value, &[])
    }

    #[test]
    fn numbers_of_rfc_8785_appendix_b() {
        let cases: [(u64, &str); 24] = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, text) in cases {
            assert_eq!(canonical_json(&json!(f64::from_bits(bits))), text, "{bits:016x}");
        }
    }

    #[test]
    fn numbers_as_they_come_in_text() {
        let canonical = |text: &str| canonical_json(&serde_json::from_str(text).unwrap());
        assert_eq!(
            canonical("[333333333.33333329,1E30,4.50,2e-3,1e-27,1.0,-0,-0.0]"),
            "[333333333.3333333,1e+30,4.5,0.002,1e-27,1,0,0]"
        );
        assert_eq!(
            canonical("[9007199254740993,18446744073709551615,-9223372036854775808]"),
            "[9007199254740992,18446744073709552000,-9223372036854776000]"
        );
    }

    #[test]
    fn keys_by_utf16_code_units() {
        // RFC 8785 section 3.2.3: U+1F600 is D83D DE00 and so before U+FB33, although its code point is greater.
        let value = json!({ "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis" });
        assert_eq!(
            canonical_json(&value),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\
             \"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
        );
    }

    #[test]
    fn strings_as_json_stringify() {
        // RFC 8785 section 3.2.2.2.
        let value: Value = serde_json::from_str(r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#).unwrap();
        assert_eq!(canonical_json(&value), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
        assert_eq!(canonical_json(&json!("\u{8}\t\u{c}\r\u{7f}\u{2028}")), "\"\\b\\t\\f\\r\u{7f}\u{2028}\"");
        assert!(serde_json::from_str::<Value>(r#""\ud800""#).is_err(), "a lone surrogate never becomes a value");
    }
}
