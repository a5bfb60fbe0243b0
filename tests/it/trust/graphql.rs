//! The same evidence and verdicts in GraphQL.

use serde_json::{Value, json};

use crate::harness::chain::Chain;
use crate::harness::{Setup, with};

const BUNDLE: &str = "query B($id: Hex32!, $depth: Int) { bundle(versionId: $id, depth: $depth) { \
    target depth complete cutAt confirmations edges { child parent } \
    nodes { versionId depth txo manifest asset { name } proof { txid blockHeight blockHash merkleRoot confirmations envelope } } } }";

const READINESS: &str = "query R($id: Hex32!, $n: Int) { readiness(versionId: $id, minConfs: $n) { \
    ready reason confirmations blockers { versionId reason } } }";

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_tell_the_same() {
    with(Setup::seeded(), async |app| {
        for id in app.rows("select version_id from assets order by 1").await {
            let ready = app.json(&format!("/ready?versionId={id}")).await;
            let readiness = &app.query(READINESS, json!({"id": id})).await["readiness"];
            for field in ["ready", "reason", "confirmations"] {
                assert_eq!(ready[field], readiness[field], "{id}");
            }
            assert_eq!(readiness["blockers"].as_array().expect("a list").is_empty(), ready["ready"] == json!(true));
            assert_eq!(ready.get("hint").unwrap_or(&Value::Null), &readiness["blockers"][0]["versionId"]);

            let answer = app.get(&format!("/bundle?versionId={id}&depth=2")).send().await.expect("answer");
            let is_cut = answer.headers().get("overlay-bundle").is_some_and(|word| word == "cut");
            let rest: Value = answer.json().await.expect("JSON");
            if rest.get("error").is_some() {
                let errors = app.errors(BUNDLE, json!({"id": id, "depth": 2})).await;
                assert_eq!(errors[0]["extensions"]["code"], "INCOMPLETE_LINEAGE");
                assert_eq!(errors[0]["extensions"]["hint"], rest["hint"]);
                continue;
            }
            let bundle = &app.query(BUNDLE, json!({"id": id, "depth": 2})).await["bundle"];
            assert_eq!((&bundle["target"], &bundle["depth"]), (&json!(id), &json!(2)));
            assert_eq!((&bundle["complete"], bundle["cutAt"] == json!([])), (&json!(!is_cut), !is_cut));
            assert_eq!(bundle["edges"], rest["graph"]["edges"]);
            let nodes = bundle["nodes"].as_array().expect("nodes");
            assert_eq!(nodes.len(), rest["graph"]["nodes"].as_array().expect("nodes").len());
            for (at, node) in nodes.iter().enumerate() {
                let graph = &rest["graph"]["nodes"][at];
                assert_eq!((&node["versionId"], &node["txo"]), (&graph["versionId"], &graph["txo"]));
                assert_eq!(node["manifest"], rest["manifests"][at]["manifest"]);
                let mut envelope = rest["proofs"][at]["envelope"].clone();
                let confirmations = envelope.as_object_mut().expect("object").remove("confirmations");
                assert_eq!(
                    (&node["proof"]["envelope"], Some(&node["proof"]["confirmations"])),
                    (&envelope, confirmations.as_ref())
                );
                assert_eq!(node["proof"]["txid"], envelope["proof"]["txid"]);
                assert!(node["asset"]["name"].is_string());
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_of_many_take_two_statements_and_follow_the_chain() {
    const QUERY: &str = "{ assets(first: 71, orderBy: NAME_ASC) { nodes { versionId confirmations \
        declaration { txid vout kind flaw proof { confirmations blockHeight } } advisories { advisoryId type expiresAt } } } }";
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let plain = "{ assets(first: 71, orderBy: NAME_ASC) { nodes { versionId } } }";
        app.query(plain, Value::Null).await;
        let (data, statements) = app.statements(app.query(QUERY, Value::Null)).await;
        // Declarations, blocks, advisories.
        assert_eq!(statements, 3);
        let tip: i64 = app.rows("select max(height)::text from block_headers").await[0].parse().expect("a number");
        let nodes = data["assets"]["nodes"].as_array().expect("nodes").clone();
        let (mut proven, mut recalled) = (0, 0);
        for node in &nodes {
            let id = node["versionId"].as_str().expect("id");
            let row = app
                .rows(&format!("select row_to_json(d)::text from declarations d where version_id = '{id}'"))
                .await;
            let Some(row) = row.first().map(|row| serde_json::from_str::<Value>(row).expect("JSON")) else {
                assert_eq!((&node["declaration"], &node["confirmations"]), (&Value::Null, &json!(0)));
                continue;
            };
            let declaration = &node["declaration"];
            for field in ["txid", "vout", "kind"] {
                assert_eq!(declaration[field], row[field]);
            }
            if let Some(height) = row["block_height"].as_i64() {
                proven += 1;
                assert_eq!(node["confirmations"], json!(tip - height + 1));
                assert_eq!(declaration["proof"], json!({"confirmations": tip - height + 1, "blockHeight": height}));
                assert_eq!(declaration["flaw"], Value::Null);
            } else {
                assert_eq!((&declaration["proof"], &declaration["flaw"]), (&Value::Null, &json!("missing-envelope")));
            }
            let said: Vec<&Value> = node["advisories"].as_array().expect("a list").iter().map(|a| &a["advisoryId"]).collect();
            let sql = format!(
                "select advisory_id from advisory_targets t join advisories a using (advisory_id) \
                 where (t.version_id = '{id}' or t.producer_id = (select producer_id from assets where version_id = '{id}')) \
                     and (a.expires_at is null or a.expires_at > now()) order by 1"
            );
            recalled += said.len();
            assert_eq!(json!(said), json!(app.rows(&sql).await));
        }
        assert!(proven > 60 && recalled > 1);
        Chain::of(app).await.mine(app, &[]).await;
        app.caught_up().await;
        let later = app.query(QUERY, Value::Null).await;
        for (before, after) in nodes.iter().zip(later["assets"]["nodes"].as_array().expect("nodes")) {
            let more = i64::from(before["confirmations"] != json!(0));
            assert_eq!(after["confirmations"].as_i64(), before["confirmations"].as_i64().map(|n| n + more));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    with(Setup::seeded(), async |app| {
        let unknown = "ab".repeat(32);
        let errors = app.errors(BUNDLE, json!({"id": unknown})).await;
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
        let errors = app.errors(BUNDLE, json!({"id": unknown, "depth": 9})).await;
        assert_eq!(
            (&errors[0]["extensions"]["code"], &errors[0]["extensions"]["hint"]),
            (&json!("BAD_REQUEST"), &json!("depth"))
        );
        let readiness = app.query(READINESS, json!({"id": unknown})).await;
        assert_eq!(readiness["readiness"]["reason"], "not-found");
    })
    .await;
}

/// An advisory ends with time alone; an answer that shows it is not kept beyond that.
#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_that_ends_ends_in_kept_answers_too() {
    const QUERY: &str = "query A($id: Hex32!) { asset(versionId: $id) { advisories { advisoryId } } }";
    with(Setup::seeded(), async |app| {
        let id = &app.rows("select version_id from assets a where not exists (select from advisory_targets t \
            where t.version_id = a.version_id or t.producer_id = a.producer_id) order by 1 limit 1").await[0];
        app.sql("insert into advisories (advisory_id, type, reason, expires_at) values ('adv', 'WARN', 'x', now() + interval '1 second')").await;
        app.sql(&format!("insert into advisory_targets (advisory_id, version_id) values ('adv', '{id}')")).await;
        app.settled().await;
        let ended = async {
            loop {
                let data = app.query(QUERY, json!({"id": id})).await;
                if data["asset"]["advisories"] == json!([]) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it ends");
    })
    .await;
}

/// GraphQL's `Int` has a sign, and the library's own refusals have no code: both are told as everything else is.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_below_zero_is_refused_and_every_refusal_has_a_code() {
    with(Setup::seeded(), async |app| {
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        for (query, name) in [
            (READINESS, "minConfs"),
            (
                "query R($id: Hex32!, $n: Int) { asset(versionId: $id) { readiness(minConfs: $n) { ready } } }",
                "minConfs",
            ),
            ("query B($id: Hex32!, $n: Int) { bundle(versionId: $id, depth: $n) { complete } }", "depth"),
        ] {
            for n in [-1, i32::MIN] {
                let told = &app.errors(query, json!({"id": id, "n": n})).await[0]["extensions"];
                assert_eq!((&told["code"], &told["hint"]), (&json!("BAD_REQUEST"), &json!(name)), "{query}");
            }
            app.query(query, json!({"id": id, "n": 0})).await;
        }
        for (query, variables) in [
            ("{", json!({})),
            ("{ nothing }", json!({})),
            ("{ asset(versionId: 1) { name } }", json!({})),
            (READINESS, json!({"id": id, "n": 3_000_000_000_u32})),
            (READINESS, json!({"id": "no hex"})),
            (READINESS, json!({})),
            ("subscription { assetPublished { name } }", json!({})),
        ] {
            let told = app.errors(query, variables).await;
            assert_eq!(told[0]["extensions"]["code"], "BAD_REQUEST", "{query}: {told}");
        }
    })
    .await;
}
