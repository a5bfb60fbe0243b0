//! The rules of a manifest as a JSON Schema, for whoever writes one. What decides is the typed check; the two are held
//! together by the test below.

/// JSON Schema, draft 2020-12.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Fault;
    use crate::domain::assets::manifest::check;
    use boon::{Compiler, Schemas};
    use serde_json::{Map, Value, json};

    const HASH: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";

    /// SplitMix64: the same stream for the same seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % n as u64) as usize
        }

        fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
            &of[self.below(of.len())]
        }
    }

    /// Every field, right and wrong in every way the rules tell apart.
    fn values(field: &str) -> Vec<Value> {
        let texts = |least: usize, most: usize| {
            [0, 1, least.saturating_sub(1), least, most, most + 1].map(|n| json!("\u{1f600}".repeat(n))).to_vec()
        };
        let hashes = || vec![json!(HASH), json!(HASH.to_uppercase()), json!(&HASH[1..]), json!(format!("{HASH}\n"))];
        let words = || {
            let many = |n: usize| json!(vec!["a"; n]);
            let long = |n: usize| json!(["\u{e9}".repeat(n)]);
            vec![json!([]), many(200), many(201), long(200), long(201), json!([1]), json!([null]), json!(["a", "a"])]
        };
        match field {
            "type" => vec![json!("datasetVersionManifest"), json!("dataset")],
            "datasetId" => texts(3, 500),
            "description" => texts(0, 20_000),
            "name" | "license" => texts(0, 500),
            "website" => texts(0, 2_000),
            "mimeType" => texts(0, 200),
            "contentHash" => hashes(),
            "identityKey" => ["02", "03", "04", ""].map(|prefix| json!(format!("{prefix}{HASH}"))).to_vec(),
            "sizeBytes" => {
                vec![
                    json!(0),
                    json!(-1),
                    json!(5.0),
                    json!(0.5),
                    json!(9_007_199_254_740_991_i64),
                    json!(9_007_199_254_740_992_i64),
                    json!(i64::MAX),
                    json!(u64::MAX),
                    json!("5"),
                    json!(1e300),
                ]
            }
            "parents" => vec![
                json!([]),
                json!([HASH]),
                json!([HASH, HASH]),
                json!([HASH, HASH.replace('6', "7")]),
                json!([HASH, 5]),
                json!([[HASH]]),
                json!(HASH),
            ],
            "createdAt" => ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789+14:00", "2026-01-02", "now", ""]
                .map(|time| json!(time))
                .to_vec(),
            "classification" => vec![json!("public"), json!("clinical-research"), json!("Public"), json!("")],
            "pii_flags" | "tags" => words(),
            "versionId" => vec![json!("x"), json!(HASH.to_uppercase())],
            _ => Vec::new(),
        }
    }

    /// The value of a field: mostly a right one, sometimes any other, sometimes none.
    fn field(random: &mut Random, name: &str) -> Option<Value> {
        let anything = [json!(null), json!(true), json!(7), json!("text"), json!([]), json!({}), json!({"a": [1]})];
        let possible = values(name);
        match random.below(40) {
            0 => None,
            1 => Some(random.pick(&anything).clone()),
            2..=4 if !possible.is_empty() => Some(random.pick(&possible).clone()),
            _ if name == "datasetId" => Some(json!("demo/one")),
            _ if matches!(
                name,
                "identityKey" | "createdAt" | "classification" | "contentHash" | "type" | "sizeBytes"
            ) =>
            {
                possible.first().cloned()
            }
            _ => None,
        }
    }

    fn object(random: &mut Random, fields: &[&str]) -> Map<String, Value> {
        let mut object = Map::new();
        for name in fields {
            object.extend(field(random, name).map(|value| ((*name).to_owned(), value)));
        }
        if random.below(10) == 0 {
            object.insert("free".into(), json!({"anything": [1, null]}));
        }
        object
    }

    fn manifest(random: &mut Random) -> Value {
        let mut top = object(random, &["type", "datasetId", "description"]);
        if top.contains_key("free") && random.below(4) > 0 {
            // What is free inside is not at the top.
            top.remove("free");
        }
        let mut provenance = object(random, &["createdAt"]);
        provenance.insert("producer".into(), object(random, &["identityKey", "name", "website"]).into());
        let parts = [
            ("content", object(random, &["contentHash", "name", "mimeType", "sizeBytes"])),
            ("lineage", object(random, &["parents"])),
            ("provenance", provenance),
            ("policy", object(random, &["license", "classification", "pii_flags", "tags"])),
            ("signatures", Map::new()),
        ];
        for (name, part) in parts {
            let whole = Some(Value::Object(part));
            let odd = field(random, "?");
            let value = if random.below(30) == 0 { odd } else { whole };
            top.extend(value.map(|value| (name.to_owned(), value)));
        }
        if random.below(20) == 0 {
            top.insert("versionId".into(), random.pick(&values("versionId")).clone());
        }
        top.into()
    }

    fn verdicts(schemas: &Schemas, at: boon::SchemaIndex, manifest: &Value) -> (bool, Result<(), Vec<Fault>>) {
        (schemas.validate(manifest, at).is_ok(), check(manifest).map(|_| ()))
    }

    #[test]
    fn the_schema_and_the_check_say_the_same() {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("manifest", serde_json::from_str(SCHEMA).expect("JSON")).expect("a schema");
        let at = compiler.compile("manifest", &mut schemas).expect("a schema");
        let seed = 20_260_102;
        let mut random = Random(seed);
        let (mut good, mut bad) = (0, 0);
        for n in 0..6_000 {
            let manifest = manifest(&mut random);
            let (by_schema, by_check) = verdicts(&schemas, at, &manifest);
            assert_eq!(by_schema, by_check.is_ok(), "seed {seed}, {n}: {by_check:?} of {manifest}");
            if by_schema { good += 1 } else { bad += 1 }
        }
        assert!(good > 1_000 && bad > 1_000, "both kinds are compared: {good} good, {bad} bad");
        // What a schema cannot say, and its description tells.
        let mut manifest = json!({
            "type": "datasetVersionManifest", "datasetId": "demo/one", "content": {"contentHash": HASH},
            "provenance": {"createdAt": "2026-01-02T03:04:05Z", "producer": {"identityKey": format!("02{HASH}")}},
        });
        assert!(matches!(verdicts(&schemas, at, &manifest), (true, Ok(()))));
        for (pointer, value) in
            [("/datasetId", "a\0bc"), ("/provenance/createdAt", "1969-12-31T23:59:59Z"), ("/versionId", HASH)]
        {
            let kept = manifest.clone();
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            manifest.pointer_mut(parent).expect("a parent")[key] = json!(value);
            assert!(matches!(verdicts(&schemas, at, &manifest), (true, Err(_))), "{pointer}");
            manifest = kept;
        }
    }
}
