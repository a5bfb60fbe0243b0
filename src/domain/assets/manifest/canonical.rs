//! The canonical JSON of a manifest and the id that follows from it.
//!
//! RFC 8785 with one rule of our own: the members `signatures` and `versionId` are left out at every level, because they are
//! written after the id is known.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::canonical::canonical;
use crate::domain::hex::encode_hex;

/// Members that are not part of what the id identifies.
const LEFT_OUT: [&str; 2] = ["signatures", "versionId"];

/// The text whose SHA-256 is the version id.
pub fn canonical_json(manifest: &Value) -> String {
    canonical(manifest, &LEFT_OUT)
}

/// 64 lower-case hex digits, SHA-256 over [`canonical_json`].
pub fn version_id(manifest: &Value) -> String {
    encode_hex(&Sha256::digest(canonical_json(manifest)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signatures_and_version_id_are_left_out_at_every_level() {
        let bare = json!({ "b": [{ "x": 1 }], "a": null });
        let signed = json!({ "versionId": "v", "b": [{ "signatures": 1, "x": 1 }], "signatures": {}, "a": null });
        assert_eq!(canonical_json(&signed), r#"{"a":null,"b":[{"x":1}]}"#);
        assert_eq!(version_id(&signed), version_id(&bare));
        assert_eq!(version_id(&json!({})), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }
}
