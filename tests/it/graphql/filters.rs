//! Filters narrow as they say: every condition, alone and joined, against SQL that says the same naively.

use serde_json::{Value, json};

use crate::harness::makers::{Made, Random, literal};
use crate::harness::{Setup, TestApp, with};

const FOUND: &str =
    "query($filter: AssetFilter) { assets(filter: $filter, first: 200) { totalCount nodes { versionId } } }";

/// Names with all that means something to `like`, to JSON, or to case.
const NAMES: [&str; 14] = [
    "100% pure",
    "100 pure",
    "100 percent",
    "a_b",
    "aXb",
    "a\\b",
    "a\\\\b",
    "%",
    "_",
    "\\",
    "it's \"quoted\"",
    "ÄÖÜ Straße",
    "äöü strasse",
    "  spaced  out ",
];

/// Texts to look for, some of them in no row.
const TEXTS: [&str; 24] = [
    "%", "_", "\\", "\\\\", "100%", "0% p", "a_b", "A_B", "a\\b", "a", "b", "ä", "Ä", "äöü", "it's", "\"", " ", "  s",
    "pure", "100", "MODEL", "weather", "z%z", "\\%",
];

/// A market with odd names in it.
async fn odd_market(app: &TestApp) {
    let names: Vec<String> = NAMES.iter().map(|name| literal(name)).collect();
    let names = format!("array[{}]", names.join(", "));
    let name = format!("({names})[n % {} + 1]", NAMES.len());
    let description = format!("({names})[(n * 5 + 3) % {} + 1] || ' described'", NAMES.len());
    let policy = "jsonb_strip_nulls(jsonb_build_object('classification', (array['public', 'internal', null])[n % 3 + 1], \
         'license', (array['MIT', 'it''s mine', null, ''])[n % 4 + 1]))";
    let updated_at = "timestamptz '2026-01-01' + (n % 5) * interval '1 day'";
    let made = Made { count: 60, name: &name, description: &description, policy, updated_at, ..Made::default() };
    made.insert(app).await;
    app.caught_up().await;
}

/// What a filter finds, and what SQL finds, in order.
async fn compare(app: &TestApp, filter: Value, condition: &str) {
    let data = app.query(FOUND, json!({"filter": filter})).await;
    let nodes = data["assets"]["nodes"].as_array().expect("nodes");
    let found: Vec<&str> = nodes.iter().map(|n| n["versionId"].as_str().expect("id")).collect();
    let sql = format!("select version_id from assets where {condition} order by updated_at desc, version_id");
    let wanted = app.rows(&sql).await;
    assert!(found == wanted, "{filter} found {} rows, `{condition}` finds {}", found.len(), wanted.len());
    assert_eq!(data["assets"]["totalCount"], wanted.len(), "total of {filter}");
}

/// Whether a column holds a text, without regard to case.
fn holds(column: &str, text: &str) -> String {
    format!("strpos(lower({column}), lower({})) > 0", literal(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_found_as_they_are_written() {
    with(Setup::seeded(), async |app| {
        odd_market(app).await;
        for text in TEXTS.iter().filter(|text| !text.trim().is_empty()) {
            let anywhere = format!("({} or {})", holds("name", text), holds("description", text));
            compare(app, json!({"text": text}), &anywhere).await;
            compare(app, json!({"name": {"contains": text}}), &holds("name", text)).await;
        }
        for name in NAMES.iter().chain(&["nobody's name", "A_B", ""]) {
            compare(app, json!({"name": {"eq": name}}), &format!("name = {}", literal(name))).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_joined_with_and() {
    let mut random = Random::new();
    with(Setup::seeded(), async |app| {
        odd_market(app).await;
        let values = async |sql: &str| {
            let mut values =
                app.rows(&format!("select distinct {sql} from assets where {sql} is not null order by 1")).await;
            values.push("in no row".into());
            values
        };
        let columns = [
            ("datasetId", "dataset_id"),
            ("producerId", "producer_id"),
            ("classification", "policy_meta->>'classification'"),
            ("license", "policy_meta->>'license'"),
        ];
        let mut choices = Vec::new();
        for (field, column) in columns {
            choices.push((field, column, values(column).await));
        }
        for (field, column, values) in &choices {
            for value in values {
                let condition = format!("{column} = {}", literal(value));
                compare(app, json!({*field: {"eq": value}}), &condition).await;
            }
        }
        for _ in 0..150 {
            let (mut filter, mut conditions) = (json!({}), vec!["true".to_owned()]);
            for (field, column, values) in &choices {
                let values: Vec<&String> = (0..random.below(5)).map(|_| random.pick(values)).collect();
                let listed: Vec<String> = values.iter().map(|v| literal(v)).collect();
                match random.below(5) {
                    0 if values.len() == 1 => filter[field] = json!({"eq": values[0]}),
                    0 | 1 if !values.is_empty() => filter[field] = json!({"in": values}),
                    2 => {
                        // No condition, said in three ways.
                        filter[field] = random.pick(&[Value::Null, json!({}), json!({"eq": null, "in": null})]).clone();
                        continue;
                    }
                    _ => continue,
                }
                conditions.push(format!("{column} in ({})", listed.join(", ")));
            }
            if random.below(3) == 0 {
                let text = *random.pick(&["a", "model", "100%", "described"]);
                filter["text"] = json!(text);
                conditions.push(format!("({} or {})", holds("name", text), holds("description", text)));
            }
            if random.below(4) == 0 {
                let (text, name) = (*random.pick(&["a", "pure"]), *random.pick(&NAMES));
                filter["name"] = json!({"contains": text, "eq": name});
                conditions.push(format!("{} and name = {}", holds("name", text), literal(name)));
            }
            compare(app, filter, &conditions.join(" and ")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_no_values_finds_nothing() {
    with(Setup::seeded(), async |app| {
        for field in ["datasetId", "producerId", "classification", "license"] {
            compare(app, json!({field: {"in": []}}), "false").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_cannot_be_are_refused_by_name() {
    with(Setup::seeded(), async |app| {
        let (many, long) = (vec!["x"; 101], "x".repeat(501));
        let cases = [
            (json!({"text": ""}), "filter.text"),
            (json!({"text": " \t"}), "filter.text"),
            (json!({"text": "a\0"}), "filter.text"),
            (json!({"text": "x".repeat(201)}), "filter.text"),
            (json!({"name": {"contains": ""}}), "filter.name.contains"),
            (json!({"name": {"eq": "a\0"}}), "filter.name"),
            (json!({"name": {"eq": long}}), "filter.name"),
            (json!({"datasetId": {"eq": "a", "in": ["a"]}}), "filter.datasetId"),
            (json!({"datasetId": {"eq": "a\0"}}), "filter.datasetId"),
            (json!({"producerId": {"in": many}}), "filter.producerId"),
            (json!({"classification": {"in": ["a\0"]}}), "filter.classification"),
            (json!({"license": {"eq": long}}), "filter.license"),
        ];
        for (filter, hint) in cases {
            let errors = app.errors(FOUND, json!({"filter": filter})).await;
            assert_eq!(errors[0]["extensions"], json!({"code": "BAD_REQUEST", "hint": hint}), "{filter}: {errors}");
            assert_eq!(errors[0]["path"], json!(["assets"]));
        }
    })
    .await;
}
