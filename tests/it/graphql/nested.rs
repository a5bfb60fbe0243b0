//! Relations are loaded in batches: a query costs at most one statement a level and type, whatever its breadth, and none
//! when it is asked again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

const FAMILY: &str =
    "query($n: Int!) { assets(first: $n) { nodes { name producer { name } parents { name producer { name } } } } }";

/// Asks a query cold and warm; answers what it said and how many statements each time took.
async fn cold_and_warm(app: &TestApp, query: &str, variables: Value) -> (Value, u64, u64) {
    app.settled().await;
    let (cold, first) = app.statements(app.query(query, variables.clone())).await;
    let (warm, second) = app.statements(app.query(query, variables)).await;
    assert_eq!(cold, warm, "{query}");
    (cold, first, second)
}

/// The version ids of the newest assets.
async fn newest(app: &TestApp, n: usize) -> BTreeSet<String> {
    let sql = format!("select version_id from assets order by updated_at desc, version_id limit {n}");
    app.rows(&sql).await.into_iter().collect()
}

/// The producers of the versions.
async fn producers(app: &TestApp, versions: &BTreeSet<String>) -> BTreeSet<String> {
    app.rows(&format!("select distinct producer_id from assets where version_id in ({})", list(versions)))
        .await
        .into_iter()
        .collect()
}

async fn parents(app: &TestApp, versions: &BTreeSet<String>) -> BTreeSet<String> {
    let sql =
        format!("select distinct parent_version_id from asset_parents where child_version_id in ({})", list(versions));
    app.rows(&sql).await.into_iter().collect()
}

fn list(texts: &BTreeSet<String>) -> String {
    texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", ")
}

/// What [`FAMILY`] must cost: a page brings its rows, and one more than it shows; whoever is known is not asked for again.
async fn expected(app: &TestApp, n: usize) -> u64 {
    let (shown, brought) = (newest(app, n).await, newest(app, n + 1).await);
    let ancestors = parents(app, &shown).await;
    let unknown: BTreeSet<String> = ancestors.difference(&brought).cloned().collect();
    let known_producers = producers(app, &shown).await;
    let unknown_producers = !producers(app, &ancestors).await.is_subset(&known_producers);
    2 + u64::from(!unknown.is_empty()) + u64::from(unknown_producers)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_assets_with_families_cost_one_statement_a_level_and_type() {
    with(Setup::seeded(), async |app| {
        let wanted = expected(app, 50).await;
        let (data, cold, warm) = cold_and_warm(app, FAMILY, json!({"n": 50})).await;
        let nodes = data["assets"]["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 50);
        let parents: Vec<&Value> = nodes.iter().flat_map(|node| node["parents"].as_array().expect("parents")).collect();
        assert!(parents.len() > 30, "the market has ancestry: {}", parents.len());
        assert!(nodes.iter().chain(parents).all(|asset| asset["producer"]["name"].is_string()), "{data}");
        // The page, its producers, who descends from whom, and the parents it did not bring; their producers are all known.
        assert_eq!((cold, warm), (4, 0));
        assert_eq!(wanted, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_page_still_costs_one_statement_a_level_and_type() {
    with(Setup::seeded(), async |app| {
        // Five with parents of other producers go first, so that the last level has producers nobody has read.
        let moved = "update assets set updated_at = now() + interval '1 hour' where version_id in \
             (select c.version_id from assets c join asset_parents on child_version_id = c.version_id \
              join assets p on p.version_id = parent_version_id and p.producer_id <> c.producer_id \
              group by 1 order by count(*) desc, 1 limit 5)";
        assert_eq!(app.sql(moved).await, 5);
        assert_eq!(expected(app, 5).await, 4, "parents and their producers are unknown to the page");
        let (data, cold, warm) = cold_and_warm(app, FAMILY, json!({"n": 5})).await;
        assert_eq!(data["assets"]["nodes"].as_array().map(Vec::len), Some(5));
        // Who descends from whom is a type of its own.
        assert_eq!((cold, warm), (5, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_of_all_and_prices_of_all_are_one_statement_each() {
    with(Setup::seeded(), async |app| {
        let query = "{ assets(first: 50) { nodes { versionId unitPrice children(first: 3) { \
             nodes { versionId unitPrice } pageInfo { hasNextPage } } } } }";
        let (data, cold, warm) = cold_and_warm(app, query, json!({})).await;
        let nodes = data["assets"]["nodes"].as_array().expect("nodes").clone();
        let mut prices = BTreeSet::new();
        for node in &nodes {
            let id = node["versionId"].as_str().expect("id");
            let sql = format!(
                "select child_version_id from asset_parents where parent_version_id = '{id}' order by 1 limit 4"
            );
            let mut wanted = app.rows(&sql).await;
            let more = wanted.len() == 4;
            wanted.truncate(3);
            let shown: Vec<&str> = texts(&node["children"]["nodes"], "versionId");
            assert_eq!(shown, wanted, "children of {id}");
            assert_eq!(node["children"]["pageInfo"]["hasNextPage"], more, "children of {id}");
            prices.insert(id.to_owned());
        }
        let shown = nodes.iter().flat_map(|n| texts(&n["children"]["nodes"], "versionId"));
        let new_children = shown.map(str::to_owned).any(|id| !prices.contains(&id));
        assert!(new_children, "some child is not on the page, so that its price is asked for");
        // The page; prices and children of its rows; prices of the children.
        assert_eq!((cold, warm), (4, 0));
    })
    .await;
}

/// So many fields wake at once that the scheduler stops the query half way, to let others run: those it stopped are waited
/// for.
#[tokio::test(flavor = "multi_thread")]
async fn a_broad_level_is_one_statement_too() {
    with(Setup::seeded(), async |app| {
        let child: String = (0..5).map(|n| format!("c{n}: children(first: 1) {{ nodes {{ unitPrice }} }} ")).collect();
        let (data, cold, warm) =
            cold_and_warm(app, &format!("{{ assets(first: 100) {{ nodes {{ {child} }} }} }}"), json!({})).await;
        let nodes = data["assets"]["nodes"].as_array().expect("nodes");
        assert!(nodes.len() > 64, "each wakes with two steps, and a poll has room for 128: {}", nodes.len());
        assert_eq!((cold, warm), (3, 0));
    })
    .await;
}

fn texts<'a>(nodes: &'a Value, field: &str) -> Vec<&'a str> {
    nodes.as_array().expect("a list").iter().map(|node| node[field].as_str().expect("a text")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_one_kind_share_a_statement() {
    with(Setup::seeded(), async |app| {
        let ids: Vec<String> = newest(app, 20).await.into_iter().collect();
        let fields: String = ids
            .iter()
            .enumerate()
            .map(|(n, id)| format!("a{n}: asset(versionId: \"{id}\") {{ name manifest }} "))
            .collect();
        let (data, cold, warm) = cold_and_warm(app, &format!("{{ {fields} }}"), json!({})).await;
        assert_eq!(data.as_object().map(serde_json::Map::len), Some(20));
        assert!(data.as_object().expect("fields").values().all(|a| a["manifest"]["datasetId"].is_string()));
        // The assets, and their manifests.
        assert_eq!((cold, warm), (2, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_versions_of_twelve_producers_are_one_statement() {
    with(Setup::seeded(), async |app| {
        let query = "{ producers(first: 12) { nodes { producerId assets(first: 2) { \
             edges { cursor node { versionId } } pageInfo { hasNextPage } } } } }";
        let (data, cold, warm) = cold_and_warm(app, query, json!({})).await;
        let nodes = data["producers"]["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 12);
        for node in nodes {
            let id = node["producerId"].as_str().expect("id");
            let sql = format!(
                "select version_id from assets where producer_id = '{id}' order by updated_at desc, version_id limit 3"
            );
            let mut wanted = app.rows(&sql).await;
            assert_eq!(node["assets"]["pageInfo"]["hasNextPage"], wanted.len() == 3);
            wanted.truncate(2);
            let edges = node["assets"]["edges"].as_array().expect("edges");
            let shown: Vec<&str> = edges.iter().map(|e| e["node"]["versionId"].as_str().expect("id")).collect();
            assert_eq!(shown, wanted, "versions of {id}");
        }
        // The page of producers, and one page of versions for all of them.
        assert_eq!((cold, warm), (2, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_all_children_are_one_statement() {
    with(Setup::seeded(), async |app| {
        let query = "{ assets(first: 30) { nodes { versionId children(first: 1) { totalCount } } } }";
        let (data, cold, warm) = cold_and_warm(app, query, json!({})).await;
        for node in data["assets"]["nodes"].as_array().expect("nodes") {
            let id = node["versionId"].as_str().expect("id");
            let sql = format!("select count(*)::text from asset_parents where parent_version_id = '{id}'");
            assert_eq!(app.rows(&sql).await, [node["children"]["totalCount"].to_string()]);
        }
        // The page, a page of children for all, and a count for all.
        assert_eq!((cold, warm), (3, 0));
        // Counts of two kinds that are asked for at once, since their owners are known, do not mix.
        let most = "select parent_version_id from asset_parents group by 1 order by count(*) desc, 1 limit 1";
        let (parent, producer) = (
            app.rows(most).await.remove(0),
            app.rows("select producer_id from assets group by 1 order by count(*) desc, 1 limit 1").await.remove(0),
        );
        let both = |of_producer: &str, of_parent: &str| {
            format!(
                "{{ producer(producerId: \"{producer}\") {{ name {of_producer} }} \
                 asset(versionId: \"{parent}\") {{ name {of_parent} }} }}"
            )
        };
        app.query(&both("", ""), json!({})).await;
        let data = app
            .query(&both("of: assets(first: 1) { totalCount }", "of: children(first: 2) { totalCount }"), json!({}))
            .await;
        for (owner, sql) in [
            ("producer", format!("select count(*)::text from assets where producer_id = '{producer}'")),
            ("asset", format!("select count(*)::text from asset_parents where parent_version_id = '{parent}'")),
        ] {
            assert_eq!(app.rows(&sql).await, [data[owner]["of"]["totalCount"].to_string()], "{owner}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_each_type_by_global_identifier_are_one_statement_a_type() {
    with(Setup::seeded(), async |app| {
        let sql = "select encode(convert_to(kind || ':' || id, 'UTF8'), 'base64') from ( \
             (select 'Policy' as kind, policy_id as id from policies limit 5) union all \
             (select 'Receipt', receipt_id from receipts limit 10) union all \
             (select 'Producer', producer_id from producers limit 10) union all \
             (select 'Asset', version_id from assets limit 10)) as object";
        let ids: Vec<String> = app.rows(sql).await.iter().map(|id| id.replace('\n', "")).collect();
        assert_eq!(ids.len(), 35);
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
        let (data, cold, warm) = cold_and_warm(app, query, json!({"ids": ids})).await;
        assert_eq!(texts(&data["nodes"], "id"), ids);
        assert_eq!((cold, warm), (4, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_policies_and_receipts_share_a_statement_a_type() {
    with(Setup::seeded(), async |app| {
        let policies = app.rows("select policy_id from policies order by 1").await;
        let receipts = app.rows("select receipt_id from receipts order by 1").await;
        let policy = |(n, id)| format!("p{n}: policy(policyId: {}) {{ name }} ", json!(id));
        let receipt = |(n, id)| format!("r{n}: receipt(receiptId: {}) {{ status asset {{ name }} }} ", json!(id));
        let fields: String =
            policies.iter().enumerate().map(policy).chain(receipts.iter().enumerate().map(receipt)).collect();
        let (data, cold, warm) = cold_and_warm(app, &format!("{{ {fields} }}"), json!({})).await;
        assert!(data.as_object().expect("fields").values().all(|found| !found.is_null()), "{data}");
        // Policies, receipts, and what was bought.
        assert_eq!((cold, warm), (3, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_are_those_that_are_published_in_order() {
    with(Setup::seeded(), async |app| {
        let most = "select child_version_id from asset_parents group by 1 order by count(*) desc, 1 limit 1";
        let child = app.rows(most).await.remove(0);
        let unpublished = "00".repeat(32);
        let edge = format!("insert into asset_parents values ('{child}', '{unpublished}')");
        assert_eq!(app.sql(&edge).await, 1);
        app.caught_up().await;
        let all = app
            .rows(&format!("select parent_version_id from asset_parents where child_version_id = '{child}' order by 1"))
            .await;
        assert!(all.len() > 2 && all[0] == unpublished, "{all:?}");
        let query =
            "query($id: Hex32!, $n: Int) { asset(versionId: $id) { parentIds parents(first: $n) { versionId } } }";
        let data = app.query(query, json!({"id": child})).await;
        assert_eq!(data["asset"]["parentIds"], json!(all));
        assert_eq!(texts(&data["asset"]["parents"], "versionId"), all[1..]);
        let data = app.query(query, json!({"id": child, "n": 2})).await;
        assert_eq!(
            texts(&data["asset"]["parents"], "versionId").len(),
            2,
            "two published ones were asked for, and are there"
        );
    })
    .await;
}
