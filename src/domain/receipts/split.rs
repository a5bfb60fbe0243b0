//! Who gets what of a payment, and whether a transaction pays it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::hex::encode_hex;

/// An output that a payment must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotedOutput {
    /// Output script, lower-case hex.
    pub script_hex: String,
    /// Satoshis.
    pub satoshis: i64,
}

/// The outputs of a payment of `amount` satoshis, by script and amount. The server's own share is rounded down to whole
/// satoshis, and the producer gets the rest, which is all when the server names no script. No output is empty.
pub fn outputs(amount: i64, own: Option<(&str, u32)>, producer_script: &str) -> Vec<QuotedOutput> {
    const WHOLE: i128 = 1_000_000_000;
    let own = own.map(|(script, share)| (script, (i128::from(amount) * i128::from(share) / WHOLE) as i64));
    let own_satoshis = own.map_or(0, |(_, satoshis)| satoshis);
    let all = own.into_iter().chain([(producer_script, amount - own_satoshis)]);
    let output = |(script, satoshis): (&str, i64)| QuotedOutput { script_hex: script.to_owned(), satoshis };
    let mut outputs: Vec<QuotedOutput> = all.filter(|(_, satoshis)| *satoshis > 0).map(output).collect();
    outputs.sort_unstable();
    outputs
}

/// SHA-256 of the canonical JSON (RFC 8785) of `{versionId, amountSat, outputs}`: the same inputs give the same hash.
pub fn template_hash(version_id: &str, amount: i64, outputs: &[QuotedOutput]) -> String {
    // Members in the order of their names; hex and whole numbers are written in one way only.
    let output = |o: &QuotedOutput| format!(r#"{{"satoshis":{},"scriptHex":"{}"}}"#, o.satoshis, o.script_hex);
    let outputs = outputs.iter().map(output).collect::<Vec<_>>().join(",");
    let text = format!(r#"{{"amountSat":{amount},"outputs":[{outputs}],"versionId":"{version_id}"}}"#);
    encode_hex(&Sha256::digest(text))
}

/// The first of `wanted` that the outputs `paid` (script in hex, satoshis) do not hold. Each pays for one; what else there
/// is, change for example, is the payer's own. When it is not `strict`, an output may hold more than is wanted.
pub fn unpaid<'w>(wanted: &'w [QuotedOutput], paid: &[(String, u64)], strict: bool) -> Option<&'w QuotedOutput> {
    let mut left: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (script, satoshis) in paid {
        left.entry(script).or_default().push(*satoshis);
    }
    // The largest first: then a large one is never used up for a small one that another would have done for.
    let mut by_size: Vec<&QuotedOutput> = wanted.iter().collect();
    by_size.sort_unstable_by_key(|output| std::cmp::Reverse(output.satoshis));
    left.values_mut().for_each(|amounts| amounts.sort_unstable_by(|a, b| b.cmp(a)));
    by_size.into_iter().find(|output| {
        let wanted = output.satoshis.unsigned_abs();
        let Some(amounts) = left.get_mut(output.script_hex.as_str()) else { return true };
        let found = amounts.iter().position(|amount| if strict { *amount == wanted } else { *amount >= wanted });
        found.map(|at| amounts.remove(at)).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(script: &str, satoshis: i64) -> QuotedOutput {
        QuotedOutput { script_hex: script.into(), satoshis }
    }

    #[test]
    fn every_satoshi_goes_to_somebody() {
        const FIVE_PERCENT: u32 = 50_000_000;
        for amount in [1, 19, 20, 21, 999, 1_000, 123_456_789, 2_100_000_000_000_000] {
            let split = outputs(amount, Some(("aa", FIVE_PERCENT)), "bb");
            assert_eq!(split.iter().map(|o| o.satoshis).sum::<i64>(), amount);
            assert!(split.iter().all(|o| o.satoshis > 0) && split.is_sorted(), "{split:?}");
        }
        assert_eq!(outputs(1_000, Some(("bb", FIVE_PERCENT)), "aa"), [out("aa", 950), out("bb", 50)]);
        assert_eq!(outputs(19, Some(("aa", FIVE_PERCENT)), "bb"), [out("bb", 19)]);
        assert_eq!(outputs(1_000, None, "bb"), [out("bb", 1_000)]);
        assert_eq!(outputs(1_000, Some(("aa", 1_000_000_000)), "bb"), [out("aa", 1_000)]);
        // A third has no end; whole satoshis have.
        assert_eq!(outputs(1_000, Some(("aa", 333_333_333)), "bb"), [out("aa", 333), out("bb", 667)]);
    }

    #[test]
    fn what_is_quoted_must_be_there_each_for_itself() {
        let paid = |outputs: &[(&str, u64)]| -> Vec<(String, u64)> {
            outputs.iter().map(|(script, satoshis)| ((*script).to_owned(), *satoshis)).collect()
        };
        let wanted = [out("aa", 50), out("bb", 50), out("bb", 950)];
        type Case<'a> = (&'a [(&'a str, u64)], bool, bool);
        let cases: [Case<'_>; 8] = [
            (&[("bb", 950), ("aa", 50), ("bb", 50)], true, true),
            (&[("cc", 7), ("bb", 950), ("aa", 50), ("bb", 50), ("aa", 50)], true, true),
            (&[("bb", 950), ("aa", 50)], false, false),
            (&[("bb", 1_000), ("aa", 50)], false, false),
            (&[("bb", 949), ("aa", 50), ("bb", 50)], false, false),
            (&[("bb", 951), ("aa", 50), ("bb", 50)], false, true),
            (&[("bb", 950), ("aa", 51), ("bb", 2_000)], false, true),
            (&[], false, false),
        ];
        for (outputs, strictly, loosely) in cases {
            assert_eq!(unpaid(&wanted, &paid(outputs), true).is_none(), strictly, "{outputs:?}");
            assert_eq!(unpaid(&wanted, &paid(outputs), false).is_none(), loosely, "{outputs:?}");
        }
    }

    /// SHA-256 of the text, written by hand.
    #[test]
    fn the_template_is_one_text() {
        let text = r#"{"amountSat":1000,"outputs":[{"satoshis":950,"scriptHex":"aa"},{"satoshis":50,"scriptHex":"bb"}],"versionId":"cc"}"#;
        let expected = encode_hex(&Sha256::digest(text));
        assert_eq!(template_hash("cc", 1_000, &[out("aa", 950), out("bb", 50)]), expected);
    }
}
