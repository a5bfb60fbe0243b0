//! Whole numbers in JSON.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Beyond it a double is no longer a single whole number.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// A whole number. To JSON, `2.0` is one, as it is to JSON Schema.
///
/// # Errors
/// For what is no whole number, or not of the range of `N`.
pub fn whole<'de, D: Deserializer<'de>, N: TryFrom<i128>>(given: D) -> Result<N, D::Error> {
    of(&Number::deserialize(given)?).map_err(D::Error::custom)
}

/// The same where nothing may stand too.
///
/// # Errors
/// As [`whole`].
pub fn perhaps<'de, D: Deserializer<'de>, N: TryFrom<i128>>(given: D) -> Result<Option<N>, D::Error> {
    Option::<Number>::deserialize(given)?.map(|number| of(&number)).transpose().map_err(D::Error::custom)
}

fn of<N: TryFrom<i128>>(number: &Number) -> Result<N, String> {
    let double = || number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() <= MAX_SAFE_INTEGER);
    let fitting = number.as_i128().or_else(|| {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
        double().map(|double| double as i128)
    });
    let fitting = fitting.and_then(|whole| N::try_from(whole).ok());
    fitting.ok_or_else(|| format!("`{number}` is no whole number of the range that is wanted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Two {
        #[serde(deserialize_with = "whole")]
        a: i32,
        #[serde(default, deserialize_with = "perhaps")]
        b: Option<u64>,
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Two>(text).map(|two| (two.a, two.b)).ok();
        assert_eq!(read(r#"{"a": 2.0}"#), Some((2, None)));
        assert_eq!(read(r#"{"a": -2e0, "b": 18446744073709551615}"#), Some((-2, Some(u64::MAX))));
        assert_eq!(read(r#"{"a": 0, "b": null}"#), Some((0, None)));
        for wrong in
            [r#"{"a": 2.5}"#, r#"{"a": 3e9}"#, r#"{"a": "2"}"#, r#"{"a": 1, "b": -1}"#, r#"{"a": 1, "b": 1e300}"#]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
