//! Manifests: the canonical JSON of the canonical JSON is itself, in the order of RFC 8785, and what the catalogue
//! takes from a manifest follows from it: two manifests of one identity are one version.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use overlay::domain::assets::manifest::{Fault, Published, canonical_json, check, version_id};
use overlay_fuzz::bounded;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

/// What the identity leaves out.
const LEFT_OUT: [&str; 2] = ["signatures", "versionId"];

fuzz_target!(|data: &[u8]| {
    // An object of one short member takes a tree node of eleven.
    let Ok(manifest) = bounded(data, 512, || serde_json::from_slice::<Value>(data)) else { return };
    let canonical = bounded(data, 64, || canonical_json(&manifest));
    let again: Value = serde_json::from_str(&canonical).expect("canonical JSON is JSON");
    assert_eq!(canonical_json(&again), canonical);
    serde_json::from_str::<InOrder>(&canonical).expect("its members are in order");
    let id = version_id(&manifest);
    assert_eq!(version_id(&again), id);
    assert!(id.len() == 64 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));

    let mut named = manifest.clone();
    if let Some(top) = named.as_object_mut() {
        top.insert("signatures".into(), json!([data.len()]));
        top.insert("versionId".into(), json!(id));
        assert_eq!(version_id(&named), id);
    }
    match bounded(data, 512, || check(&manifest)) {
        Ok(published) => {
            holds(&published, &id);
            assert_eq!(check(&named).as_ref(), Ok(&published));
            let canonical = check(&again).expect("in order as written, so in order when canonical");
            let policy_meta = published.policy_meta.clone();
            assert_eq!(canonical_json(&canonical.policy_meta), canonical_json(&policy_meta));
            assert_eq!(Published { policy_meta, ..canonical }, published);
        }
        Err(faults) => told(&faults, &manifest),
    }
});

fn holds(published: &Published, id: &str) {
    assert_eq!(published.version_id.to_string(), id);
    assert!(published.parents.is_sorted_by(|one, next| one < next));
    assert!(published.size_bytes.is_none_or(|bytes| bytes >= 0));
    assert!(!published.name.is_empty() && !published.producer.name.is_empty());
    let texts = [&published.dataset_id, &published.name, &published.description, &published.producer.name];
    assert!(texts.into_iter().all(|text| !text.contains('\0')));
}

/// A refusal says why, and a member that should not be there is found by its pointer.
fn told(faults: &[Fault], manifest: &Value) {
    assert!(!faults.is_empty());
    for fault in faults {
        assert!(fault.pointer.is_empty() || fault.pointer.starts_with('/'));
        assert!(fault.to_string().ends_with(&fault.rule));
        if fault.rule == "is not a field of a manifest" {
            assert!(manifest.pointer(&fault.pointer).is_some(), "{}", fault.pointer);
        }
    }
}

/// JSON with the members of every object in ascending order of their UTF-16 code units, none twice, none left out.
struct InOrder;

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for InOrder {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("canonical JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut before: Option<Vec<u16>> = None;
        while let Some((key, Self)) = members.next_entry::<String, Self>()? {
            let units: Vec<u16> = key.encode_utf16().collect();
            assert!(before.is_none_or(|before| before < units), "{key:?} is out of order");
            assert!(!LEFT_OUT.contains(&key.as_str()));
            before = Some(units);
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
}
