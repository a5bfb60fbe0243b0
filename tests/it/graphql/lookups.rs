//! What is found by a word, by an identifier, or by a global identifier.

use serde_json::{Value, json};

use crate::harness::makers::Made;
use crate::harness::{Setup, TestApp, with};

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().map(|item| item[field].as_str().expect("a text")).collect()
}

/// Names that a search finds, the best first.
async fn search(app: &TestApp, text: &str) -> Vec<String> {
    let data =
        app.query("query($q: String!) { search(query: $q, first: 50) { nodes { name } } }", json!({"q": text})).await;
    texts(&data["search"]["nodes"], "name").into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_words_tags_and_names_spelt_alike() {
    with(Setup::seeded(), async |app| {
        // A word of the name beats one of the description.
        let found = search(app, "reanalysis").await;
        assert_eq!(found[0], "Regional reanalysis 2000–2025");
        assert!(found.contains(&"Gridded hourly weather 2025".to_owned()), "a word of the description: {found:?}");
        // Prose is stemmed.
        assert!(search(app, "blending").await.contains(&"Gridded hourly weather 2025".to_owned()));
        // Tags, of which neither name nor description speaks.
        for tag in ["imagery", "time-series"] {
            let tagged = format!("select name from assets where policy_meta->'tags' ? '{tag}'");
            let (found, tagged) = (search(app, tag).await, app.rows(&tagged).await);
            assert!(!tagged.is_empty() && tagged.iter().all(|name| found.contains(name)), "{tag}: {found:?}");
        }
        for (typo, name) in [
            ("cardiac polygenc risk scor", "Cardiac polygenic risk score"),
            ("Polyfon speach recogniser", "Polyphon speech recogniser"),
            ("smart metre readings", "Smart meter readings, raw"),
        ] {
            assert_eq!(search(app, typo).await.first().map(String::as_str), Some(name), "{typo}");
        }
        // A part of a word, whatever its case; a phrase.
        assert!(search(app, "GRID").await.contains(&"Gridded hourly weather 2025".to_owned()));
        assert!(search(app, "\"land cover\"").await.contains(&"Land cover split".to_owned()));
        assert_eq!(search(app, "qqqqzzzz").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_syntax_of_any_kind_is_answered() {
    with(Setup::seeded(), async |app| {
        for text in [
            "&",
            "| !",
            "' ; --",
            "\"open",
            "a:*",
            "<->",
            "\\",
            "%",
            "_",
            "((",
            "-",
            "or",
            "the",
            "😀",
            "\u{202e}x",
            "a\tb",
        ] {
            search(app, text).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_results_are_paged_without_loss() {
    with(Setup::seeded(), async |app| {
        // Many of equal rank.
        Made { count: 40, name: "'weather ' || n % 3", ..Made::default() }.insert(app).await;
        app.caught_up().await;
        let whole = app.query("{ search(query: \"weather\", first: 200) { nodes { versionId } } }", json!({})).await;
        let whole = texts(&whole["search"]["nodes"], "versionId");
        assert!(whole.len() > 45, "{} found", whole.len());
        for (size, from, edge, there) in
            [("first", "after", "endCursor", "hasNextPage"), ("last", "before", "startCursor", "hasPreviousPage")]
        {
            let query = format!(
                "query($c: String) {{ search(query: \"weather\", {size}: 7, {from}: $c) {{ nodes {{ versionId }} \
                 pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            );
            let (mut rows, mut cursor): (Vec<String>, Value) = (Vec::new(), Value::Null);
            loop {
                let page = app.query(&query, json!({"c": cursor})).await["search"].take();
                let ids: Vec<String> = texts(&page["nodes"], "versionId").into_iter().map(str::to_owned).collect();
                rows = if size == "first" { [rows, ids].concat() } else { [ids, rows].concat() };
                if page["pageInfo"][there] == false {
                    break;
                }
                cursor = page["pageInfo"][edge].clone();
            }
            assert_eq!(rows, whole, "by {size}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_and_policies_are_listed_in_order() {
    with(Setup::seeded(), async |app| {
        let cases = [
            ("producers", "producerId", "", "select producer_id from producers order by display_name, producer_id"),
            (
                "producers",
                "producerId",
                "orderBy: CREATED_AT_DESC, ",
                "select producer_id from producers order by created_at desc, producer_id",
            ),
            ("policies", "policyId", "", "select policy_id from policies order by name, policy_id"),
        ];
        for (field, id, order, sql) in cases {
            let wanted = app.rows(sql).await;
            assert!(wanted.len() > 4, "{field}");
            for (size, from, edge, there) in
                [("first", "after", "endCursor", "hasNextPage"), ("last", "before", "startCursor", "hasPreviousPage")]
            {
                let query = format!(
                    "query($c: String) {{ {field}({order}{size}: 2, {from}: $c) {{ nodes {{ {id} }} \
                     pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
                );
                let (mut rows, mut cursor): (Vec<String>, Value) = (Vec::new(), Value::Null);
                loop {
                    let page = app.query(&query, json!({"c": cursor})).await[field].take();
                    let ids: Vec<String> = texts(&page["nodes"], id).into_iter().map(str::to_owned).collect();
                    rows = if size == "first" { [rows, ids].concat() } else { [ids, rows].concat() };
                    if page["pageInfo"][there] == false {
                        break;
                    }
                    cursor = page["pageInfo"][edge].clone();
                }
                assert_eq!(rows, wanted, "{field} {order} by {size}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_each_kind_says_what_its_row_says() {
    with(Setup::seeded(), async |app| {
        let receipt = app.rows("select receipt_id from receipts where status = 'confirmed' order by 1 limit 1").await.remove(0);
        let data = app
            .query(
                "query($r: String!) { receipt(receiptId: $r) { receiptId status quantity unitPrice amount paymentTxid \
                 expiresAt createdAt asset { versionId producer { producerId name website identityKey } } } \
                 policy(policyId: \"pol_clinical\") { policyId name enabled document } }",
                json!({"r": receipt}),
            )
            .await;
        let row = format!(
            "select jsonb_build_object('receiptId', receipt_id, 'status', upper(status), 'quantity', quantity, \
             'unitPrice', unit_price_sat::text, 'amount', amount_sat::text, 'paymentTxid', payment_txid, \
             'asset', jsonb_build_object('versionId', a.version_id, 'producer', jsonb_build_object( \
                 'producerId', p.producer_id, 'name', display_name, 'website', website, 'identityKey', identity_key)))::text \
             from receipts r join assets a using (version_id) join producers p using (producer_id) where receipt_id = '{receipt}'"
        );
        let mut shown = data["receipt"].clone();
        for time in ["expiresAt", "createdAt"] {
            let text = shown.as_object_mut().and_then(|o| o.remove(time)).expect("a time");
            assert!(chrono::DateTime::parse_from_rfc3339(text.as_str().expect("text")).is_ok(), "{time}: {text}");
        }
        assert_eq!(shown, serde_json::from_str::<Value>(&app.rows(&row).await[0]).expect("JSON"));
        let row = "select jsonb_build_object('policyId', policy_id, 'name', name, 'enabled', enabled, 'document', doc)::text \
             from policies where policy_id = 'pol_clinical'";
        assert_eq!(data["policy"], serde_json::from_str::<Value>(&app.rows(row).await[0]).expect("JSON"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_null_and_no_error() {
    with(Setup::seeded(), async |app| {
        let query = format!(
            "{{ asset(versionId: \"{}\") {{ name }} producer(producerId: \"no\") {{ name }} policy(policyId: \"no\") {{ name }} \
             receipt(receiptId: \"no\") {{ status }} }}",
            "0".repeat(64)
        );
        let none = json!({"asset": null, "producer": null, "policy": null, "receipt": null});
        assert_eq!(app.query(&query, json!({})).await, none);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_global_identifier_leads_back_to_its_object() {
    with(Setup::seeded(), async |app| {
        let data = app
            .query(
                "{ assets(first: 100) { nodes { __typename id name } } producers { nodes { __typename id name } } \
                 policies { nodes { __typename id name } } }",
                json!({}),
            )
            .await;
        let lists =
            ["assets", "producers", "policies"].iter().flat_map(|list| data[list]["nodes"].as_array().expect("nodes"));
        let mut objects: Vec<Value> = lists.cloned().collect();
        let query = "query($r: String!) { receipt(receiptId: $r) { __typename id } }";
        for receipt in app.rows("select receipt_id from receipts").await {
            objects.push(app.query(query, json!({"r": receipt})).await["receipt"].take());
        }
        assert!(objects.len() > 71 + 12 + 5, "{} objects", objects.len());
        let fields = "__typename id ... on Asset { name } ... on Producer { name } ... on Policy { name }";
        let ids: Vec<&Value> = objects.iter().map(|object| &object["id"]).collect();
        let query = format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {{ {fields} }} }}");
        assert_eq!(app.query(&query, json!({"ids": ids})).await["nodes"], json!(objects));
        let query = format!("query($id: ID!) {{ node(id: $id) {{ {fields} }} }}");
        for object in &objects {
            assert_eq!(app.query(&query, json!({"id": object["id"]})).await["node"], *object);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn global_identifiers_of_nothing_are_null_and_of_no_form_are_refused() {
    with(Setup::seeded(), async |app| {
        // base64 of: Asset:x, Asset:0…0 (64), Nothing:x, Producer:nobody, Policy:nothing, Receipt:none
        let zeros = "QXNzZXQ6".to_owned() + &"MDAw".repeat(21) + "MA==";
        let ids = [
            "QXNzZXQ6eA==",
            &zeros,
            "Tm90aGluZzp4",
            "UHJvZHVjZXI6bm9ib2R5",
            "UG9saWN5Om5vdGhpbmc=",
            "UmVjZWlwdDpub25l",
        ];
        let data = app.query("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({"ids": ids})).await;
        assert_eq!(data["nodes"], json!([null, null, null, null, null, null]));
        // Not base64; not UTF-8; without a colon; an empty identifier; one with a NUL.
        for id in ["", "!", "/w==", "QXNzZXQ=", "UHJvZHVjZXI6", "UHJvZHVjZXI6AA=="] {
            let errors = app.errors("query($id: ID!) { node(id: $id) { id } }", json!({"id": id})).await;
            assert_eq!(errors[0]["extensions"]["code"], "BAD_REQUEST", "{id}: {errors}");
            assert_eq!(errors[0]["path"], json!(["node"]));
        }
        let errors = app
            .errors("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({"ids": vec!["QXNzZXQ6eA=="; 201]}))
            .await;
        assert_eq!(errors[0]["extensions"]["hint"], "ids", "{errors}");
    })
    .await;
}

/// What carries the text as its name comes first, however many others merely contain it.
#[tokio::test(flavor = "multi_thread")]
async fn the_best_of_very_many_matches_is_first() {
    with(Setup::seeded(), async |app| {
        // The one that must be found is stored last.
        for from in [1, 2_001, 4_001] {
            app.sql(&format!(
                "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) \
                 select md5(n::text) || md5((n + 1)::text), 'd/many', (select min(producer_id) from producers), \
                     case n when 6000 then 'quux' else 'a rather long name of quux number ' || n end, \
                     repeat('a', 64), repeat('a', 64), '{{}}' from generate_series({from}, {from} + 1999) n",
            ))
            .await;
        }
        app.caught_up().await;
        assert_eq!(search(app, "quux").await.first().map(String::as_str), Some("quux"));
    })
    .await;
}

/// Every plain fact of a version, beside what PostgreSQL holds.
#[tokio::test(flavor = "multi_thread")]
async fn facts_of_a_version_are_those_of_its_row() {
    with(Setup::seeded(), async |app| {
        let sql = "select jsonb_build_object('versionId', version_id, 'name', name, 'license', policy_meta->>'license', \
             'classification', policy_meta->>'classification', 'tags', coalesce(policy_meta->'tags', '[]'), \
             'piiFlags', coalesce(policy_meta->'pii_flags', '[]'))::text from assets order by version_id";
        let rows: Vec<Value> = app.rows(sql).await.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        assert!(rows.iter().any(|row| row["piiFlags"] != json!([])), "some hold personal data");
        for row in rows {
            let query = "query($id: Hex32!) { asset(versionId: $id) { versionId name license classification tags piiFlags } }";
            assert_eq!(app.query(query, json!({"id": row["versionId"]})).await["asset"], row);
        }
    })
    .await;
}
