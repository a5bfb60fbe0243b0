//! What changes is seen in the very next answer: a new tip, a reorg, an advisory; and what did not change stays cached.

use chrono::{Duration, Utc};
use serde_json::{Value, json};

use crate::harness::chain::Chain;
use crate::harness::{Setup, TestApp, with};

/// Readiness of every version, by version.
async fn verdicts(app: &TestApp, ids: &[String]) -> Vec<(String, bool, Value)> {
    let mut found = Vec::new();
    for id in ids {
        let answer = app.get(&format!("/ready?versionId={id}")).header("Overlay-Consistency", "strong").send().await;
        let body: Value = answer.expect("answer").json().await.expect("JSON");
        found.push((id.clone(), body["ready"] == json!(true), body["reason"].clone()));
    }
    found
}

fn confirmations(bundle: &Value) -> Vec<i64> {
    bundle["proofs"]
        .as_array()
        .expect("proofs")
        .iter()
        .map(|p| p["envelope"]["confirmations"].as_i64().expect("a number"))
        .collect()
}

/// The last version of a chain of three generations at least.
async fn grandchild(app: &TestApp) -> String {
    let sql = "select p.child_version_id from asset_parents p \
         join asset_parents q on q.child_version_id = p.parent_version_id \
         join asset_parents r on r.child_version_id = q.parent_version_id \
         join declarations d on d.version_id = p.child_version_id and d.envelope is not null order by 1 limit 1";
    app.rows(sql).await[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tip_confirms_more_while_the_structure_stays_cached() {
    with(Setup::seeded(), async |app| {
        let path = format!("/bundle?versionId={}", grandchild(app).await);
        app.settled().await;
        let before = confirmations(&app.json(&path).await);
        let (_, warm) = app.statements(app.json(&path)).await;
        assert_eq!(warm, 0);
        let mut chain = Chain::of(app).await;
        for more in 1..=3 {
            chain.mine(app, &[]).await;
            let ask = async {
                let answer = app.get(&path).header("Overlay-Consistency", "strong").send().await.expect("answer");
                answer.json::<Value>().await.expect("JSON")
            };
            let (bundle, statements) = app.statements(ask).await;
            assert_eq!(confirmations(&bundle), before.iter().map(|n| n + more).collect::<Vec<_>>());
            // The headers alone are read again.
            assert_eq!(statements, 1);
            let ready = app.json(&path.replace("/bundle", "/ready")).await;
            assert_eq!(ready["confirmations"], json!(before.iter().min().expect("some") + more));
        }
    })
    .await;
}

/// What changes anywhere in an ancestry is seen, not only at its target.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_far_up_an_ancestry_is_seen() {
    with(Setup::seeded(), async |app| {
        let id = grandchild(app).await;
        let sql = format!(
            "with recursive walk(id, depth) as (select '{id}', 0 union select parent_version_id, depth + 1 from asset_parents \
                 join walk on child_version_id = id) select id from walk where depth > 1 order by depth desc, id limit 1"
        );
        let oldest = &app.rows(&sql).await[0];
        let path = format!("/bundle?versionId={id}");
        let nodes = async || app.json(&path).await["graph"]["nodes"].as_array().expect("nodes").len();
        app.settled().await;
        let before = (nodes().await, nodes().await);
        let unrelated = format!(
            "select version_id from declarations d where envelope is not null and not exists (select from asset_parents where \
                 child_version_id = d.version_id) and version_id not in (select versions.id from ({}) as versions) order by 1 limit 1",
            sql.replace("where depth > 1 order by depth desc, id limit 1", "")
        );
        let unrelated = &app.rows(&unrelated).await[0];
        app.sql(&format!("insert into asset_parents values ('{oldest}', '{unrelated}')")).await;
        app.caught_up().await;
        assert_eq!(nodes().await, before.0 + 1);
        // A parent that nobody has published, until somebody does.
        let absent = overlay::domain::assets::manifest::version_id(&json!({"name": "late"}));
        app.sql(&format!("insert into asset_parents values ('{oldest}', '{absent}')")).await;
        app.caught_up().await;
        for _ in 0..2 {
            let ready = app.json(&path.replace("/bundle", "/ready")).await;
            assert_eq!((&ready["reason"], &ready["hint"]), (&json!("missing-manifest"), &json!(absent)));
        }
        app.sql(&format!(
            "insert into assets (version_id, dataset_id, producer_id, name, description, content_hash, manifest_hash, manifest, policy_meta) \
             select '{absent}', dataset_id, producer_id, name, description, content_hash, '{absent}', \
                 '{{\"name\": \"late\"}}', policy_meta \
             from assets where version_id = '{oldest}'"
        ))
        .await;
        app.caught_up().await;
        let ready = app.json(&path.replace("/bundle", "/ready")).await;
        assert_eq!((&ready["reason"], &ready["hint"]), (&json!("missing-envelope"), &json!(absent)));
        Chain::of(app).await.mine(app, &[absent]).await;
        app.caught_up().await;
        assert_eq!(app.json(&path.replace("/bundle", "/ready")).await["ready"], json!(true));
        assert_eq!(nodes().await, before.0 + 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_makes_unready_what_it_takes_off_and_nothing_else() {
    with(Setup::seeded().with("POLICY_MIN_CONFS", "1"), async |app| {
        let ids = app.rows("select version_id from assets order by 1").await;
        let ready_before = verdicts(app, &ids).await;
        assert!(ready_before.iter().filter(|(_, ready, _)| *ready).count() > 50);
        for depth in [1, 2, 6] {
            let mut chain = Chain::of(app).await;
            // What is proven in the blocks that go, and all that was made from it.
            let affected = app
                .rows(&format!(
                    "with recursive hit(id) as (select d.version_id from declarations d join block_headers b on b.hash = d.block_hash \
                         where b.on_best_chain and b.height > {} \
                     union select child_version_id from asset_parents join hit on parent_version_id = id) select id from hit",
                    chain.height() - depth
                ))
                .await;
            let old = chain.take_off(app, depth).await;
            for _ in 0..=depth {
                chain.mine(app, &[]).await;
            }
            for ((id, was, _), (_, is, reason)) in ready_before.iter().zip(verdicts(app, &ids).await) {
                assert_eq!(is, *was && !affected.contains(id), "{id}, {depth} blocks: {reason}");
                if *was && !is {
                    assert_eq!(reason, json!("unknown-block-hash"));
                    let bundle = app.get(&format!("/bundle?versionId={id}")).send().await.expect("answer");
                    let bundle: Value = bundle.json().await.expect("JSON");
                    assert_eq!((&bundle["error"], &bundle["reason"]), (&json!("invalid-envelope"), &json!("unknown-block-hash")));
                }
            }
            println!("{depth} blocks: {} affected", affected.len());
            old.put_on(app).await;
            assert_eq!(verdicts(app, &ids).await, ready_before, "{depth} blocks, and back");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_on_an_ancestor_reaches_every_descendant_and_ends_with_its_term() {
    with(Setup::seeded(), async |app| {
        let ids = app.rows("select version_id from assets order by 1").await;
        let before = verdicts(app, &ids).await;
        let id = grandchild(app).await;
        let oldest = app
            .rows(&format!(
                "with recursive walk(id, depth) as (select '{id}', 0 union select parent_version_id, depth + 1 from asset_parents \
                     join walk on child_version_id = id) select id from walk order by depth desc, id limit 1"
            ))
            .await;
        let oldest = &oldest[0];
        let descendants = format!("with recursive walk(id) as (select '{oldest}' union select child_version_id from asset_parents join walk on parent_version_id = id) ");
        let of_version = app.rows(&format!("{descendants} select id from walk")).await;
        let producer = app.rows(&format!("select producer_id from assets where version_id = '{oldest}'")).await;
        let of_producer = app
            .rows(&format!(
                "with recursive walk(id) as (select version_id from assets where producer_id = '{}' \
                     union select child_version_id from asset_parents join walk on parent_version_id = id) select id from walk",
                producer[0]
            ))
            .await;
        assert!(of_version.len() > 3);
        let unready = async |affected: &[String], what: &str| {
            for ((id, was, _), (_, is, reason)) in before.iter().zip(verdicts(app, &ids).await) {
                assert_eq!(is, *was && !affected.contains(id), "{what}: {id} {reason}");
            }
        };
        app.sql("insert into advisories (advisory_id, type, reason) values ('adv', 'BLOCK', 'wrong')").await;
        unready(&[], "an advisory about nothing").await;
        app.sql(&format!("insert into advisory_targets (advisory_id, version_id) values ('adv', '{oldest}')")).await;
        unready(&of_version, "a version").await;
        app.sql("update advisories set type = 'WARN'").await;
        let warned: Vec<_> = verdicts(app, &ids).await.into_iter().filter(|(id, ..)| of_version.contains(id)).collect();
        assert!(warned.iter().any(|(_, ready, _)| *ready), "a warning does not block");
        app.sql("update advisories set type = 'BLOCK' where advisory_id in ('adv', 'adv_trip-counts-consent')").await;
        app.sql("update advisories set type = 'WARN' where advisory_id = 'adv_polyphon-review'").await;
        unready(&of_version, "a version, again").await;
        app.sql(&format!("insert into advisory_targets (advisory_id, producer_id) values ('adv', '{}')", producer[0])).await;
        unready(&of_producer, "a producer").await;
        // It ends by time alone: no row changes.
        let ends = async |end: chrono::DateTime<Utc>| {
            app.sql(&format!("update advisories set expires_at = '{}' where advisory_id = 'adv'", end.to_rfc3339())).await;
            end
        };
        ends(Utc::now() + Duration::hours(1)).await;
        unready(&of_producer, "a term that has not ended").await;
        let end = ends(Utc::now() + Duration::milliseconds(700)).await;
        let path = format!("/ready?versionId={id}");
        let ended = async {
            while app.json(&path).await["ready"] != json!(true) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), ended).await.expect("it ends");
        assert!(Utc::now() >= end, "it ended before its time");
        unready(&[], "a term that has ended").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmations_that_are_asked_for_are_needed() {
    with(Setup::seeded().with("POLICY_MIN_CONFS", "3"), async |app| {
        let mut chain = Chain::of(app).await;
        let id = app.rows("select version_id from assets a where not exists (select from asset_parents where child_version_id = a.version_id) order by 1 limit 1").await;
        chain.mine(app, &id).await;
        let id = &id[0];
        for confirmations in 1..=5 {
            app.caught_up().await;
            for (asked, need) in [("", 3), ("&minConfs=0", 3), ("&minConfs=1", 3), ("&minConfs=4", 4), ("&minConfs=5", 5)] {
                let body = app.json(&format!("/ready?versionId={id}{asked}")).await;
                assert_eq!(body["confirmations"], json!(confirmations));
                assert_eq!(body["ready"], json!(confirmations >= need), "{confirmations} of {asked}");
                let reason = if confirmations >= need { Value::Null } else { json!("insufficient-confs") };
                assert_eq!(body["reason"], reason);
            }
            chain.mine(app, &[]).await;
        }
        let unknown = app.json(&format!("/ready?versionId={}", "ab".repeat(32))).await;
        assert_eq!(unknown["reason"], json!("not-found"));
    })
    .await;
}
