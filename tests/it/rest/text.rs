//! `q` finds what SQL finds naively: texts of every length, rare ones and such as are in thousands of rows, on every page.

use serde_json::{Value, json};

use crate::harness::makers::{Made, Random, literal};
use crate::harness::{Setup, TestApp, with};

/// Rows beyond which the server takes another way to a page.
const COMMON: u32 = 2_000;

/// Where `text` is in name or description, without regard to case.
fn condition(text: &str) -> String {
    let text = literal(text);
    format!("(strpos(lower(name), lower({text})) > 0 or strpos(lower(description), lower({text})) > 0)")
}

async fn page(app: &TestApp, text: &str, more: &[(&str, &str)]) -> Value {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).extend_pairs(more).finish();
    app.json(&format!("/listings?{query}")).await
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|i| i["versionId"].as_str().expect("id")).collect()
}

/// The first page, a page at an offset, and up to ten pages by cursor are as SQL has them; answers how many there are.
async fn compare(app: &TestApp, text: &str, filter: &[(&str, &str)], and: &str, random: &mut Random) -> usize {
    let sql = format!(
        "select version_id from assets where {} and {and} order by updated_at desc, version_id",
        condition(text)
    );
    let wanted = app.rows(&sql).await;
    let offset = random.below(wanted.len().max(1));
    let shown = page(app, text, &[filter, &[("limit", "9"), ("offset", &offset.to_string())]].concat()).await;
    let slice: Vec<&String> = wanted.iter().skip(offset).take(9).collect();
    assert_eq!(ids(&shown), slice, "{text:?} {filter:?} at offset {offset} of {}", wanted.len());
    let (mut seen, mut cursor) = (0, None::<String>);
    let size = (wanted.len() / 8).clamp(3, 200);
    let limit = size.to_string();
    loop {
        let mut more = [filter, &[("limit", &*limit)]].concat();
        more.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let shown = page(app, text, &more).await;
        let found = ids(&shown);
        let slice: Vec<&String> = wanted.iter().skip(seen).take(size).collect();
        assert_eq!(found, slice, "{text:?} {filter:?} after {seen} of {}", wanted.len());
        seen += found.len();
        assert_eq!(shown.get("nextCursor").is_some(), seen < wanted.len(), "{text:?} {filter:?} after {seen}");
        match shown.get("nextCursor") {
            Some(next) if seen < 10 * size => cursor = next.as_str().map(str::to_owned),
            _ => return wanted.len(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_every_length_are_found_without_regard_to_case() {
    let mut random = Random::new();
    with(Setup::seeded(), async |app| {
        let names =
            ["100% sure", "100 sure", "a_b", "aXb", "back\\slash", "%", "Ünïcode", "two  spaces", "x", "'quote\""];
        let names: Vec<String> = names.iter().map(|n| literal(n)).collect();
        let name = format!("(array[{}])[n % {} + 1]", names.join(", "), names.len());
        let updated_at = "timestamptz '2026-01-01' + (n % 4) * interval '1 hour'";
        Made { count: 40, name: &name, description: "'Described ' || n", updated_at, ..Made::default() }
            .insert(app)
            .await;
        app.caught_up().await;
        let texts = [
            "weather",
            "WEATHER",
            "eath",
            "model",
            "a",
            "A",
            "e ",
            "is",
            "%",
            "_",
            "\\",
            "0%",
            "100%",
            "a_b",
            "a%b",
            "_b",
            "k\\s",
            "\\s",
            "%%",
            "ünï",
            "ÜNÏ",
            "  ",
            "two  spaces",
            "x",
            "'",
            "\"",
            "described 7",
            "no such text",
            "🜁",
        ];
        let mut found = 0;
        for text in texts.iter().filter(|t| !t.trim().is_empty()) {
            found += usize::from(compare(app, text, &[], "true", &mut random).await > 0);
        }
        assert!(found > 20, "only {found} texts are in some row: the others show little");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_and_common_texts_are_found_the_same() {
    let mut random = Random::new();
    with(Setup::seeded(), async |app| {
        // `common` is in 2,400 rows, `edge` in exactly the bound, `over` in one more; `half` is in descriptions.
        let name = format!(
            "case when n <= 2400 then 'Common ' else 'Seldom ' end \
             || case when n % 2 = 0 and n / 2 <= {COMMON} then 'zedge ' else '' end \
             || case when n % 2 = 0 and n / 2 <= {COMMON} + 1 then 'zover ' else '' end || n"
        );
        let description = "case when n % 2 = 1 then 'half of them, ab' else '' end";
        let updated_at = "timestamptz '2026-01-01' + (n * 7919 % 400) * interval '1 second'";
        let made = Made { count: 5_000, name: &name, description, updated_at, ..Made::default() };
        made.insert(app).await;
        app.sql("analyze assets").await;
        app.caught_up().await;
        let cases = [
            ("common", 2_400),
            ("zedge", COMMON as usize),
            ("zover", COMMON as usize + 1),
            ("half", 2_500),
            // Without trigrams.
            ("ab", 2_500),
            ("o", 5_000),
            ("common zedge zover 24", 0),
            ("seldom", 2_600),
        ];
        for (text, least) in cases {
            let count = compare(app, text, &[], "true", &mut random).await;
            assert!(count >= least, "{text}: {count}");
            let exact = ["zedge", "zover"].contains(&text);
            assert!(!exact || count == least, "{text}: {count}");
            // Narrowed: fewer than the bound again.
            let dataset = format!("made-{}", random.below(7));
            let and = format!("dataset_id = '{dataset}'");
            compare(app, text, &[("datasetId", &dataset)], &and, &mut random).await;
            compare(app, text, &[("producerId", "prd_made")], "producer_id = 'prd_made'", &mut random).await;
        }
        // The same two ways backwards, and under another order.
        let query = "query($t: String!, $c: String) { assets(filter: {text: $t}, orderBy: NAME_DESC, last: 150, before: $c) { \
             nodes { versionId } pageInfo { hasPreviousPage startCursor } } }";
        for text in ["common", "zedge", "zover", "common 12"] {
            let sql = format!("select version_id from assets where {} order by name desc, version_id", condition(text));
            let wanted = app.rows(&sql).await;
            let (mut rows, mut cursor): (Vec<String>, Value) = (Vec::new(), Value::Null);
            loop {
                let page = app.query(query, json!({"t": text, "c": cursor})).await["assets"].take();
                let nodes = page["nodes"].as_array().expect("nodes").iter();
                let ids: Vec<String> = nodes.map(|n| n["versionId"].as_str().expect("id").to_owned()).collect();
                rows = [ids, rows].concat();
                if page["pageInfo"]["hasPreviousPage"] == false {
                    break;
                }
                cursor = page["pageInfo"]["startCursor"].clone();
            }
            assert!(rows == wanted, "{text}: {} rows backwards, {} in SQL", rows.len(), wanted.len());
        }
    })
    .await;
}
