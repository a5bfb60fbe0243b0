//! What depends on a list need not name the list's rows besides: each change of a row is one of the list.

use overlay_migration::triggers;
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

/// A query of a list, the kind of its rows' tags, and changes of rows, one after the other: `$asset` is where the asset is that they
/// are about, `$bought` where the receipts are.
struct Case {
    query: String,
    kind: &'static str,
    changes: &'static [&'static str],
}

/// The row that a change is about: one that all lists of its table show.
const ASSET: &str = "version_id = (select version_id from assets where name = 'Wind power features' or name = 'Moved')";

const OF_ASSETS: &[&str] = &[
    "update assets set name = 'Moved' where $asset",
    "update assets set description = description || '!', size_bytes = 12345 where $asset",
    "update assets set mime_type = mime_type || '!' where $asset",
    "update assets set updated_at = updated_at + interval '1 second' where $asset",
    "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) select version_id, \
     dataset_id, producer_id, name, content_hash, manifest_hash, manifest from assets where $asset \
     on conflict (version_id) do update set description = assets.description || ' put again'",
    // It leaves both the lists it was in.
    "update assets set producer_id = (select min(p.producer_id) from producers p where p.producer_id <> assets.producer_id), \
     dataset_id = 'd/moved' where $asset",
];

fn cases(producer: &str, dataset: &str, bought: &str) -> Vec<Case> {
    let row = "nodes { name description license mimeType sizeBytes updatedAt datasetId producerId }";
    let case = |query: String, kind, changes| Case { query, kind, changes };
    vec![
        case(format!("{{ assets(first: 50) {{ {row} }} }}"), "asset:", OF_ASSETS),
        case(
            format!("{{ producer(producerId: \"{producer}\") {{ assets(first: 50) {{ {row} }} }} }}"),
            "asset:",
            OF_ASSETS,
        ),
        case(
            format!("{{ assets(first: 50, filter: {{datasetId: {{eq: \"{dataset}\"}}}}) {{ {row} }} }}"),
            "asset:",
            OF_ASSETS,
        ),
        case(
            "{ producers { nodes { name website identityKey createdAt } } }".into(),
            "producer:",
            &[
                "update producers set display_name = 'Zoe' where producer_id = (select min(producer_id) from producers)",
                "update producers set website = 'https://odd.example' where display_name = 'Zoe'",
                "insert into producers (producer_id, identity_key, display_name) \
                 select 'prd_new', '02' || repeat('ef', 32), 'New'",
            ],
        ),
        case(
            format!(
                "{{ asset(versionId: \"{bought}\") {{ receipts(first: 50) {{ nodes {{ receiptId status quantity amount paymentTxid broadcast }} }} }} }}"
            ),
            "receipt:",
            &[
                "update receipts set payment_txid = repeat('ab', 32) where receipt_id = (select min(receipt_id) from receipts where $bought)",
                "update receipts set quantity = 77, amount_sat = 77 * unit_price_sat where receipt_id = (select max(receipt_id) from receipts where $bought)",
                "update receipts set version_id = (select min(version_id) from assets where not $bought) \
                 where receipt_id = (select max(receipt_id) from receipts where $bought)",
                "delete from receipts where receipt_id = (select min(receipt_id) from receipts where $bought)",
            ],
        ),
        case(
            "{ policies { nodes { name enabled document } } }".into(),
            "policy:",
            &[
                "update policies set name = 'Zoe' where policy_id = (select min(policy_id) from policies)",
                "update policies set enabled = not enabled where name = 'Zoe'",
                "delete from policies where name = 'Zoe'",
            ],
        ),
    ]
}

/// As the triggers of the table log them that has rows of `kind`.
fn wildcards(kind: &str) -> String {
    let table = triggers::covered().find(|covered| covered.tags[0].starts_with(kind)).expect("a table");
    format!("'{{{}}}'", triggers::wildcards(table.tags).collect::<Vec<_>>().join(","))
}

/// The answer, whether it was kept, and the tags it tells.
async fn ask(app: &TestApp, query: &str) -> (Value, bool, String) {
    let answer = app.post(query, json!({})).send().await.expect("answer");
    let was_kept = answer.headers().contains_key("age");
    let tags = answer.headers()["surrogate-key"].to_str().expect("text").to_owned();
    (answer.json().await.expect("JSON"), was_kept, tags)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_row_is_one_of_its_list() {
    with(Setup::seeded(), async |app| {
        let producer = app.rows("select producer_id from assets where name = 'Wind power features'").await.remove(0);
        let dataset = app.rows("select dataset_id from assets where name = 'Wind power features'").await.remove(0);
        let bought =
            app.rows("select version_id from receipts group by 1 order by count(*) desc limit 1").await.remove(0);
        for Case { query, kind, changes } in cases(&producer, &dataset, &bought) {
            // In all its lists, and the first of each.
            app.sql(&format!(
                "update assets set name = 'Wind power features', producer_id = '{producer}', dataset_id = '{dataset}', \
                 updated_at = clock_timestamp() where {ASSET}"
            ))
            .await;
            // What a statement of more than 1,000 rows says, and a TRUNCATE.
            let wholesale = [wildcards(kind), "'{*}'".to_owned()]
                .map(|tags| format!("insert into change_log (tags) values ({tags})"));
            for change in &wholesale {
                app.settled().await;
                ask(app, &query).await;
                assert!(ask(app, &query).await.1, "{change}");
                app.sql(change).await;
                app.caught_up().await;
                assert!(!ask(app, &query).await.1, "{query}\n{change}");
            }
            for change in changes {
                let change = change.replace("$asset", ASSET).replace("$bought", &format!("version_id = '{bought}'"));
                app.settled().await;
                let (before, _, tags) = ask(app, &query).await;
                assert!(before.get("errors").is_none(), "{before}");
                assert!(!tags.split(' ').any(|tag| tag.starts_with(kind)), "{query}: {tags}");
                let (again, was_kept, _) = ask(app, &query).await;
                assert!(was_kept && again == before, "{change}");
                assert!(app.sql(&change).await > 0, "{change}");
                app.caught_up().await;
                let (after, was_kept, _) = ask(app, &query).await;
                assert!(!was_kept, "{query}\n{change}");
                assert!(after != before, "{query}\n{change}");
            }
        }
    })
    .await;
}

/// Edges are made and unmade without a word of the versions they join: no list of versions stands for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_versions_does_not_stand_for_their_edges() {
    with(Setup::seeded(), async |app| {
        for shown in ["parentIds", "parents { name }"] {
            let query = format!("{{ assets(first: 15, orderBy: NAME_ASC) {{ nodes {{ name {shown} }} }} }}");
            app.settled().await;
            let before = ask(app, &query).await.0;
            assert!(ask(app, &query).await.1, "{shown}");
            let edge = "(select ctid from asset_parents where child_version_id in (select version_id from assets \
                        order by name, version_id limit 15) limit 1)";
            assert_eq!(app.sql(&format!("delete from asset_parents where ctid = {edge}")).await, 1);
            app.caught_up().await;
            let (after, was_kept, _) = ask(app, &query).await;
            assert!(!was_kept && after != before, "{shown}");
        }
    })
    .await;
}

/// Rows stand alone where no list of theirs is shown, and a list stands for its own rows only.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_list_stands_for_is_named() {
    with(Setup::seeded(), async |app| {
        let (child, parent) = (app.version("Wind power features").await, "select parent_version_id from asset_parents");
        let parent = app.rows(&format!("{parent} where child_version_id = '{child}' limit 1")).await.remove(0);
        let query = format!(
            "{{ asset(versionId: \"{child}\") {{ name parents {{ name producer {{ name }} }} }} producers {{ nodes {{ name }} }} }}"
        );
        for (change, is_heard) in [
            (format!("update assets set name = name || '!' where version_id = '{parent}'"), true),
            (format!("update assets set name = name || '!' where version_id = '{child}'"), true),
            ("update producers set display_name = display_name || '!'".to_owned(), true),
            (format!("delete from asset_parents where child_version_id = '{child}'"), true),
            (format!("update assets set name = name || '!' where version_id not in ('{parent}', '{child}')"), false),
        ] {
            app.settled().await;
            let (_, _, tags) = ask(app, &query).await;
            for tag in [format!("asset:{child}"), "producers".to_owned()] {
                assert!(tags.split(' ').any(|other| other == tag), "{tags}");
            }
            assert!(!tags.contains("producer:"), "{tags}");
            assert!(ask(app, &query).await.1);
            assert!(app.sql(&change).await > 0, "{change}");
            app.caught_up().await;
            assert_eq!(ask(app, &query).await.1, !is_heard, "{change}");
        }
    })
    .await;
}

/// Descendants are listed by edges, and another producer's list is not the row's.
#[tokio::test(flavor = "multi_thread")]
async fn other_lists_do_not_stand_for_a_row() {
    with(Setup::seeded(), async |app| {
        let (child, publisher) =
            (app.version("Wind power features").await, "select producer_id from assets where name");
        let publisher = app.rows(&format!("{publisher} = 'Wind power features'")).await.remove(0);
        let other =
            app.rows(&format!("select min(producer_id) from producers where producer_id <> '{publisher}'")).await;
        let parent = format!("select min(parent_version_id) from asset_parents where child_version_id = '{child}'");
        let query = format!(
            "{{ asset(versionId: \"{}\") {{ children {{ nodes {{ name }} }} }} \
             producer(producerId: \"{}\") {{ assets {{ nodes {{ name }} }} }} }}",
            app.rows(&parent).await[0],
            other[0]
        );
        app.settled().await;
        let (before, _, tags) = ask(app, &query).await;
        assert!(tags.split(' ').any(|tag| tag == format!("asset:{child}")), "{tags}");
        assert!(ask(app, &query).await.1);
        assert_eq!(app.sql(&format!("update assets set name = 'Renamed' where version_id = '{child}'")).await, 1);
        app.caught_up().await;
        let (after, was_kept, _) = ask(app, &query).await;
        assert!(!was_kept && after != before, "{after}");
    })
    .await;
}
