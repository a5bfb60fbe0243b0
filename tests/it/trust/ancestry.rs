//! Random ancestries (diamonds, deep chains, parents nobody published, cycles that only SQL can make) against an oracle that
//! walks them naively.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::chain::Chain;
use crate::harness::makers::{Made, Random, made_id};
use crate::harness::{Setup, TestApp, with};

const MAX_DEPTH: usize = 4;

/// What the test knows of the database.
struct World {
    /// Parents of each version, also of those not published.
    parents: BTreeMap<String, BTreeSet<String>>,
    published: BTreeSet<String>,
    proven: BTreeSet<String>,
    recalled: BTreeSet<String>,
}

impl World {
    /// Depth of each version that `target` was made from, breadth first.
    fn walk(&self, target: &str, depth: usize) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::from([(target.to_owned(), 0)]);
        let mut level = vec![target.to_owned()];
        for at in 1..=depth {
            let next: BTreeSet<&String> = level.iter().filter_map(|id| self.parents.get(id)).flatten().collect();
            level = next.into_iter().filter(|id| !found.contains_key(*id)).cloned().collect();
            found.extend(level.iter().map(|id| (id.clone(), at)));
        }
        found
    }

    fn edges(&self, within: &BTreeMap<String, usize>) -> BTreeSet<(String, String)> {
        let of = |id: &String| {
            self.parents.get(id).into_iter().flatten().map(|p| (id.clone(), p.clone())).collect::<Vec<_>>()
        };
        within.keys().flat_map(of).filter(|(_, parent)| within.contains_key(parent)).collect()
    }

    fn cut(&self, within: &BTreeMap<String, usize>) -> BTreeSet<String> {
        let is_cut = |id: &&String| self.parents.get(*id).into_iter().flatten().any(|p| !within.contains_key(p));
        within.keys().filter(is_cut).cloned().collect()
    }
}

/// Versions with random parents: most of them earlier ones, now and then a later one, itself, or one nobody published.
async fn random_world(app: &TestApp, random: &mut Random, round: usize) -> World {
    let lot = format!("round {round}");
    let count = 4 + random.below(20) as u32;
    Made { count, lot: &lot, ..Made::default() }.insert(app).await;
    let ids = app.rows(&format!("select {} from generate_series(1, {}) n", made_id(&lot), count + 3)).await;
    let (published, absent) = ids.split_at(count as usize);
    let chance = 1 + random.below(3);
    let mut parents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (at, child) in published.iter().enumerate() {
        for _ in 0..random.below(chance + 2) {
            let parent = match random.below(20) {
                0 => random.pick(absent),
                1 => random.pick(published),
                _ if at == 0 => continue,
                _ => &published[at - 1 - random.below(at.min(3))],
            };
            parents.entry(child.clone()).or_default().insert(parent.clone());
        }
    }
    let edges: Vec<String> = parents
        .iter()
        .flat_map(|(child, of)| of.iter().map(move |parent| format!("('{child}', '{parent}')")))
        .collect();
    if !edges.is_empty() {
        app.sql(&format!(
            "insert into asset_parents (child_version_id, parent_version_id) values {}",
            edges.join(", ")
        ))
        .await;
    }
    let is_rare = |random: &mut Random| random.below(12) == 0;
    let proven: BTreeSet<String> = published.iter().filter(|_| !is_rare(random)).cloned().collect();
    let mut chain = Chain::of(app).await;
    chain.mine(app, &proven.iter().cloned().collect::<Vec<_>>()).await;
    let recalled: BTreeSet<String> = published.iter().filter(|_| is_rare(random)).cloned().collect();
    for id in &recalled {
        app.sql(&format!("insert into advisories (advisory_id, type, reason) values ('adv {id}', 'BLOCK', 'no')"))
            .await;
        app.sql(&format!("insert into advisory_targets (advisory_id, version_id) values ('adv {id}', '{id}')")).await;
    }
    World { parents, published: published.iter().cloned().collect(), proven, recalled }
}

async fn compare_bundle(app: &TestApp, world: &World, id: &str, depth: usize) -> &'static str {
    let answer = app.get(&format!("/bundle?versionId={id}&depth={depth}")).send().await.expect("answer");
    let (status, cut) = (answer.status(), answer.headers().get("overlay-bundle-cut-at").cloned());
    let body: Value = answer.json().await.expect("JSON");
    let within = world.walk(id, depth);
    let told = |what: &str| body["hint"].as_str().and_then(|hint| hint.strip_prefix(what)).map(str::to_owned);
    let unpublished: BTreeSet<&String> = within.keys().filter(|id| !world.published.contains(*id)).collect();
    let unproven: BTreeSet<&String> = within.keys().filter(|id| !world.proven.contains(*id)).collect();
    if !unpublished.is_empty() {
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
        assert!(unpublished.contains(&told("missing-manifest:").expect("a hint")));
        return "unpublished";
    }
    if !unproven.is_empty() {
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
        assert!(unproven.contains(&told("missing-envelope:").expect("a hint")));
        return "unproven";
    }
    assert_eq!(status, StatusCode::OK, "{body}");
    let nodes: Vec<&str> = body["graph"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|n| n["versionId"].as_str().expect("id"))
        .collect();
    let mut wanted: Vec<(usize, &str)> = within.iter().map(|(id, depth)| (*depth, id.as_str())).collect();
    wanted.sort_unstable();
    assert_eq!(nodes, wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let edges = body["graph"]["edges"].as_array().expect("edges");
    let found: BTreeSet<(String, String)> = edges.iter().map(|e| (text(&e["child"]), text(&e["parent"]))).collect();
    assert_eq!((edges.len(), &found), (found.len(), &world.edges(&within)));
    let cut: BTreeSet<String> = cut
        .iter()
        .flat_map(|cut| cut.to_str().expect("text").split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(cut, world.cut(&within));
    if cut.is_empty() { "whole" } else { "cut" }
}

async fn compare_ready(app: &TestApp, world: &World, id: &str) -> &'static str {
    let body = app.json(&format!("/ready?versionId={id}")).await;
    let within = world.walk(id, MAX_DEPTH);
    let has = |set: &BTreeSet<String>, wanted: bool| within.keys().any(|id| set.contains(id) == wanted);
    let reason = if !world.cut(&within).is_empty() {
        "lineage-too-deep"
    } else if has(&world.published, false) {
        "missing-manifest"
    } else if has(&world.recalled, true) {
        "recalled"
    } else if has(&world.proven, false) {
        "missing-envelope"
    } else {
        assert_eq!((&body["ready"], &body["reason"]), (&json!(true), &Value::Null), "{body}");
        return "ready";
    };
    assert_eq!((&body["ready"], &body["reason"]), (&json!(false), &json!(reason)), "{body}");
    assert!(within.contains_key(body["hint"].as_str().expect("a version")));
    reason
}

/// The reasons that are told when all are asked for in one go; null for what is ready.
async fn reasons_at_once(app: &TestApp) -> BTreeMap<String, Value> {
    const QUERY: &str = "{ assets(first: 90) { nodes { versionId readiness { ready reason } } } }";
    let data = app.query(QUERY, Value::Null).await;
    let reason = |node: &Value| {
        let verdict = &node["readiness"];
        assert_eq!(verdict["ready"], json!(verdict["reason"].is_null()));
        (node["versionId"].as_str().expect("id").to_owned(), verdict["reason"].clone())
    };
    data["assets"]["nodes"].as_array().expect("nodes").iter().map(reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_and_verdicts_agree_with_a_naive_walk() {
    with(Setup::empty().with("BUNDLE_MAX_DEPTH", MAX_DEPTH.to_string()), async |app| {
        let mut random = Random::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for round in 0..25 {
            let world = random_world(app, &mut random, round).await;
            app.caught_up().await;
            let at_once = reasons_at_once(app).await;
            for id in &world.published {
                let reason = compare_ready(app, &world, id).await;
                let told = at_once.get(id).map(|reason| reason.as_str().unwrap_or("ready"));
                assert!(told.is_none_or(|told| told == reason), "{id}: {told:?}, {reason}");
                *seen.entry(reason).or_default() += 1;
                *seen.entry("at once").or_default() += usize::from(told.is_some());
                let depth = random.below(MAX_DEPTH + 1);
                *seen.entry(compare_bundle(app, &world, id, depth).await).or_default() += 1;
            }
        }
        println!("{seen:?}");
        let outcomes = [
            "lineage-too-deep",
            "missing-manifest",
            "recalled",
            "missing-envelope",
            "ready",
            "unpublished",
            "unproven",
            "whole",
            "cut",
            "at once",
        ];
        assert!(outcomes.iter().all(|outcome| seen.contains_key(outcome)), "{seen:?}");
    })
    .await;
}

/// However large an ancestry is, a cold bundle takes three statements, and a warm one none.
#[tokio::test(flavor = "multi_thread")]
async fn three_statements_whatever_the_size() {
    with(Setup::empty(), async |app| {
        for (lot, count) in [("one", 1), ("fifty", 50), ("five hundred", 500)] {
            Made { count, lot, ..Made::default() }.insert(app).await;
            let ids = app.rows(&format!("select {} from generate_series(1, {count}) n", made_id(lot))).await;
            // A tree of four children each: five levels for five hundred.
            let edges: Vec<String> =
                (1..ids.len()).map(|at| format!("('{}', '{}')", ids[(at - 1) / 4], ids[at])).collect();
            if !edges.is_empty() {
                app.sql(&format!(
                    "insert into asset_parents (child_version_id, parent_version_id) values {}",
                    edges.join(", ")
                ))
                .await;
            }
            Chain::of(app).await.mine(app, &ids).await;
            app.settled().await;
            let path = format!("/bundle?versionId={}", ids[0]);
            let (body, cold) = app.statements(app.json(&path)).await;
            assert_eq!(body["proofs"].as_array().expect("proofs").len(), count as usize);
            let (_, warm) = app.statements(app.json(&path)).await;
            assert_eq!((cold, warm), (3, 0), "{lot}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ancestry_that_is_too_large_is_refused_and_not_ready() {
    with(Setup::empty(), async |app| {
        Made { count: 2, ..Made::default() }.insert(app).await;
        let ids = app.rows("select version_id from assets order by name").await;
        app.sql(&format!(
            "insert into asset_parents select '{}', encode(sha256(convert_to('p' || n, 'UTF8')), 'hex') from generate_series(1, 5000) n",
            ids[0]
        ))
        .await;
        app.sql(&format!("insert into asset_parents values ('{}', '{}')", ids[1], ids[0])).await;
        app.caught_up().await;
        for id in &ids {
            let answer = app.get(&format!("/bundle?versionId={id}")).send().await.expect("answer");
            let (code, hint) = crate::harness::refused(answer, StatusCode::CONFLICT).await;
            assert_eq!((code.as_str(), hint.as_deref()), ("lineage-too-large", Some("depth")));
            let ready = app.json(&format!("/ready?versionId={id}")).await;
            assert_eq!((&ready["ready"], &ready["reason"]), (&json!(false), &json!("lineage-too-large")));
        }
        // What is too large spoils no verdict beside it.
        Made { count: 1, lot: "small", ..Made::default() }.insert(app).await;
        app.caught_up().await;
        let mut reasons: Vec<Value> = reasons_at_once(app).await.into_values().collect();
        reasons.sort_unstable_by_key(ToString::to_string);
        assert_eq!(reasons, [json!("lineage-too-large"), json!("lineage-too-large"), json!("missing-envelope")]);
    })
    .await;
}

/// Few versions can be large too: neither their manifests nor their proofs are read into memory without bound.
#[tokio::test(flavor = "multi_thread")]
async fn an_ancestry_that_is_too_heavy_is_refused_and_not_ready() {
    const HEAVY: &str = "jsonb_build_object('x', repeat('a', 23000000))";
    with(Setup::empty(), async |app| {
        Made { count: 3, ..Made::default() }.insert(app).await;
        let ids = app.rows("select version_id from assets order by name").await;
        for parent in &ids[1..] {
            app.sql(&format!("insert into asset_parents values ('{}', '{parent}')", ids[0])).await;
        }
        Chain::of(app).await.mine(app, &ids).await;
        let path = format!("/bundle?versionId={}", ids[0]);
        app.caught_up().await;
        assert_eq!(app.json(&path).await["proofs"].as_array().expect("proofs").len(), 3);
        for table in ["assets set manifest", "declarations set envelope"] {
            app.sql(&format!("update {table} = {HEAVY}")).await;
            app.caught_up().await;
            let answer = app.get(&path).send().await.expect("answer");
            assert_eq!(crate::harness::refused(answer, StatusCode::CONFLICT).await.0, "lineage-too-large", "{table}");
            let ready = app.json(&path.replace("/bundle", "/ready")).await;
            assert_eq!((&ready["ready"], &ready["reason"]), (&json!(false), &json!("lineage-too-large")));
            app.sql("update assets set manifest = '{}'").await;
        }
    })
    .await;
}
