//! Pages follow each other: nothing is lost, nothing comes twice, in every order and both ways, whatever happens to the
//! rows between two pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::makers::{Made, Random};
use crate::harness::{Setup, TestApp, with};

const PAGE: &str = "query($by: AssetOrder!, $first: Int, $after: String, $last: Int, $before: String) { \
    assets(orderBy: $by, first: $first, after: $after, last: $last, before: $before) { \
        totalCount edges { cursor node { versionId } } nodes { versionId } \
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

/// Each order, and how SQL says it.
const ORDERS: [(&str, &str); 6] = [
    ("UPDATED_AT_DESC", "updated_at desc"),
    ("UPDATED_AT_ASC", "updated_at"),
    ("CREATED_AT_DESC", "created_at desc"),
    ("CREATED_AT_ASC", "created_at"),
    ("NAME_ASC", "name"),
    ("NAME_DESC", "name desc"),
];

/// The rows of a page in order, and the page itself.
async fn page(app: &TestApp, variables: Value) -> (Vec<String>, Value) {
    let data = app.query(PAGE, variables).await;
    let page = data["assets"].clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let edges = page["edges"].as_array().expect("edges");
    let ids: Vec<String> = edges.iter().map(|e| text(&e["node"]["versionId"])).collect();
    let nodes: Vec<String> = page["nodes"].as_array().expect("nodes").iter().map(|n| text(&n["versionId"])).collect();
    assert_eq!(ids, nodes, "`nodes` and `edges` differ");
    if let (Some(first), Some(last)) = (edges.first(), edges.last()) {
        assert_eq!(page["pageInfo"]["startCursor"], first["cursor"]);
        assert_eq!(page["pageInfo"]["endCursor"], last["cursor"]);
    }
    (ids, page)
}

/// All rows of an order, page by page of seven.
async fn walk(app: &TestApp, by: &str, forward: bool) -> Vec<String> {
    let (size, from, there, back, edge) = if forward {
        ("first", "after", "hasNextPage", "hasPreviousPage", "endCursor")
    } else {
        ("last", "before", "hasPreviousPage", "hasNextPage", "startCursor")
    };
    let mut rows: Vec<String> = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let (ids, page) = page(app, json!({"by": by, size: 7, from: cursor})).await;
        let info = &page["pageInfo"];
        assert_eq!(info[back], !cursor.is_null(), "{back} of a page {from} {cursor}");
        rows = if forward { [rows, ids].concat() } else { [ids, rows].concat() };
        if info[there] == false {
            return rows;
        }
        cursor = info[edge].clone();
    }
}

async fn walks_equal_sql(app: &TestApp, what: &str) {
    app.caught_up().await;
    for (by, sql) in ORDERS {
        let wanted = app.rows(&format!("select version_id from assets order by {sql}, version_id")).await;
        assert!(walk(app, by, true).await == wanted, "{what}: {by} forward is not `order by {sql}, version_id`");
        assert!(walk(app, by, false).await == wanted, "{what}: {by} backward is not `order by {sql}, version_id`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_walked_whole_both_ways() {
    with(Setup::seeded(), async |app| {
        // Nine sort values for all rows, some of them a microsecond apart.
        app.sql(
            "update assets set (updated_at, created_at, name) = (select \
             timestamptz '2026-01-01' + (k % 3) * interval '1 microsecond' + (k % 2) * interval '0.1 second', \
             timestamptz '1969-12-31 23:59:59.5+00' + k * interval '0.25 second', (array['a', 'A', 'ä', 'b', 'B', '']) [k % 6 + 1] \
             from (select ('x' || substr(version_id, 1, 2))::bit(8)::int % 9 as k) as nine)",
        )
        .await;
        walks_equal_sql(app, "few sort values").await;
        app.sql("update assets set updated_at = '2026-01-01', created_at = '2026-01-01', name = 'same'").await;
        walks_equal_sql(app, "one sort value").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_market_as_it_is_is_walked_whole_both_ways() {
    with(Setup::seeded(), async |app| walks_equal_sql(app, "the demo market").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_length_and_letters_carry_a_cursor() {
    with(Setup::empty(), async |app| {
        // The longest names there may be, of the letters that take most room in JSON and in UTF-8.
        let names = [
            r"repeat('漢', 499) || n",
            r"repeat(U&'\+01F600', 498) || n",
            r"repeat(E'\x01', 490) || n",
            r#"repeat('"\', 240) || n"#,
        ];
        for (lot, name) in names.iter().enumerate() {
            let lot = lot.to_string();
            Made { count: 9, lot: &lot, name, ..Made::default() }.insert(app).await;
        }
        walks_equal_sql(app, "long names").await;
    })
    .await;
}

/// Walks one way while rows come and go. What was there throughout is shown once, in order.
async fn walk_while_rows_come_and_go(app: &TestApp, random: &mut Random, forward: bool) {
    let order = "order by updated_at desc, version_id";
    let mut throughout: BTreeSet<String> = app.rows("select version_id from assets").await.into_iter().collect();
    let (size, from, there, edge) = if forward {
        ("first", "after", "hasNextPage", "endCursor")
    } else {
        ("last", "before", "hasPreviousPage", "startCursor")
    };
    let mut shown: Vec<String> = Vec::new();
    let mut cursor = Value::Null;
    for round in 0.. {
        let (ids, page) = page(app, json!({"by": "UPDATED_AT_DESC", size: 7, from: cursor})).await;
        shown = if forward { [shown, ids.clone()].concat() } else { [ids.clone(), shown].concat() };
        if page["pageInfo"][there] == false {
            break;
        }
        cursor = page["pageInfo"][edge].clone();
        let lot = format!("{forward} {round}");
        // Sort values among those of the others, also equal to them.
        let updated_at = "timestamptz '2026-01-01' + (n * 37 % 90) * interval '1 minute'";
        Made { count: random.below(6) as u32 + 1, lot: &lot, updated_at, ..Made::default() }.insert(app).await;
        let mut gone = vec![random.pick(&ids).clone()];
        // The row that the cursor stands on, too.
        gone.extend(if forward { ids.last() } else { ids.first() }.filter(|_| random.below(2) == 0).cloned());
        let all = app.rows(&format!("select version_id from assets {order}")).await;
        gone.extend((0..random.below(3)).map(|_| random.pick(&all).clone()));
        for id in gone {
            app.sql(&format!("delete from assets where version_id = '{id}'")).await;
            throughout.remove(&id);
        }
        app.caught_up().await;
    }
    let distinct: BTreeSet<&String> = shown.iter().collect();
    assert_eq!(distinct.len(), shown.len(), "a row came twice (forward: {forward})");
    let lost: Vec<_> = throughout.iter().filter(|id| !distinct.contains(id)).collect();
    assert!(lost.is_empty(), "lost (forward: {forward}): {lost:?}");
    let still: Vec<String> = app.rows(&format!("select version_id from assets {order}")).await;
    let still: Vec<&String> = still.iter().filter(|id| distinct.contains(id)).collect();
    let shown: Vec<&String> = shown.iter().filter(|id| still.contains(id)).collect();
    assert_eq!(shown, still, "out of order (forward: {forward})");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_and_go_disturb_no_walk() {
    let mut random = Random::new();
    with(Setup::empty(), async |app| {
        let updated_at = "timestamptz '2026-01-01' + (n / 3) * interval '2 minutes'";
        Made { count: 120, updated_at, ..Made::default() }.insert(app).await;
        app.caught_up().await;
        walk_while_rows_come_and_go(app, &mut random, true).await;
        walk_while_rows_come_and_go(app, &mut random, false).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_follow_the_rows() {
    with(Setup::seeded(), async |app| {
        let total = async || page(app, json!({"by": "NAME_ASC", "first": 1})).await.1["totalCount"].clone();
        assert_eq!(total().await, 71);
        Made { count: 30, ..Made::default() }.insert(app).await;
        app.caught_up().await;
        assert_eq!(total().await, 101);
        app.sql("delete from assets where producer_id = 'prd_made'").await;
        app.caught_up().await;
        assert_eq!(total().await, 71);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_catalogue_has_an_empty_page() {
    with(Setup::empty(), async |app| {
        for size in ["first", "last"] {
            let (ids, page) = page(app, json!({"by": "NAME_ASC", size: 5})).await;
            assert_eq!((ids.len(), &page["totalCount"]), (0, &json!(0)));
            let none = json!({"hasNextPage": false, "hasPreviousPage": false, "startCursor": null, "endCursor": null});
            assert_eq!(page["pageInfo"], none);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_and_versions_of_a_producer_are_walked_whole() {
    with(Setup::seeded(), async |app| {
        let busiest = "select parent_version_id from asset_parents group by 1 order by count(*) desc, 1 limit 1";
        let parent = app.rows(busiest).await.remove(0);
        let producer = app.rows("select producer_id from assets group by 1 order by count(*) desc, 1 limit 1").await.remove(0);
        let cases = [
            (
                format!("asset(versionId: \"{parent}\") {{ of: children"),
                format!("select child_version_id from asset_parents where parent_version_id = '{parent}' order by 1"),
            ),
            (
                format!("producer(producerId: \"{producer}\") {{ of: assets"),
                format!("select version_id from assets where producer_id = '{producer}' order by updated_at desc, version_id"),
            ),
        ];
        for (field, sql) in cases {
            let wanted = app.rows(&sql).await;
            assert!(wanted.len() > 2, "{sql} has {} rows", wanted.len());
            for (size, from, edge, there) in
                [("first", "after", "endCursor", "hasNextPage"), ("last", "before", "startCursor", "hasPreviousPage")]
            {
                let mut rows: Vec<String> = Vec::new();
                let mut cursor = Value::Null;
                loop {
                    let query = format!(
                        "query($c: String) {{ owner: {field}({size}: 2, {from}: $c) {{ totalCount nodes {{ versionId }} \
                         pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }} }}"
                    );
                    let page = app.query(&query, json!({"c": cursor})).await["owner"]["of"].take();
                    assert_eq!(page["totalCount"], wanted.len());
                    let nodes = page["nodes"].as_array().expect("nodes").iter();
                    let ids: Vec<String> = nodes.map(|n| n["versionId"].as_str().expect("id").to_owned()).collect();
                    rows = if size == "first" { [rows, ids].concat() } else { [ids, rows].concat() };
                    if page["pageInfo"][there] == false {
                        break;
                    }
                    cursor = page["pageInfo"][edge].clone();
                }
                assert_eq!(rows, wanted, "{field} by {size}");
            }
        }
    })
    .await;
}
