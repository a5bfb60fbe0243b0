//! Verdicts of many versions at once, and what is on record of them.

use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, with};

async fn count(app: &TestApp, sql: &str) -> usize {
    app.rows(sql).await[0].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_of_many_are_those_of_each_and_take_five_statements() {
    const QUERY: &str = "query V($n: Int!, $policy: String) { assets(first: $n, orderBy: NAME_ASC) { nodes { versionId \
        readiness(policyId: $policy) { ready reason confirmations blockers { versionId } policy { decision reasons } } } } }";
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let (_, few) = app.statements(app.query(QUERY, json!({"n": 3}))).await;
        let (data, many) = app.statements(app.query(QUERY, json!({"n": 71}))).await;
        let (_, again) = app.statements(app.query(QUERY, json!({"n": 71}))).await;
        // The page, the ancestries, their declarations, recalls, and blocks.
        assert_eq!((few, many, again), (5, 5, 0));
        let nodes = data["assets"]["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 71);
        let mut ready = 0;
        for node in nodes {
            let (id, verdict) = (node["versionId"].as_str().expect("id"), &node["readiness"]);
            let alone = app.json(&format!("/ready?versionId={id}")).await;
            for field in ["ready", "reason", "confirmations"] {
                assert_eq!(verdict[field], alone.get(field).cloned().unwrap_or_default(), "{id} {field}");
            }
            assert_eq!(verdict["policy"], Value::Null);
            ready += usize::from(verdict["ready"] == json!(true));
        }
        assert!((1..71).contains(&ready), "{ready}");
        assert_eq!(count(app, "select count(*)::text from policy_runs").await, 0);

        // With a policy: the policy, what it needs to know of all of them, and one insert.
        let mut taken = Vec::new();
        for n in [3, 71] {
            // All is cold again.
            app.sql("truncate policy_runs").await;
            app.settled().await;
            let asked = app.query(QUERY, json!({"n": n, "policy": "pol_open-data"}));
            taken.push(app.statements(asked).await);
        }
        let (data, many) = taken.remove(1);
        let few = taken[0].1;
        assert_eq!(few, many);
        let nodes = data["assets"]["nodes"].as_array().expect("nodes");
        let judged: Vec<&Value> = nodes.iter().filter(|node| !node["readiness"]["policy"].is_null()).collect();
        assert!(judged.len() > 10);
        assert_eq!(count(app, "select count(*)::text from policy_runs").await, judged.len());
        for node in judged {
            let (id, policy) = (node["versionId"].as_str().expect("id"), &node["readiness"]["policy"]);
            let alone = app.json(&format!("/ready?versionId={id}&policyId=pol_open-data")).await;
            assert_eq!(policy["reasons"], alone["policy"]["reasons"], "{id}");
            let decision = policy["decision"].as_str().expect("a decision").to_lowercase();
            assert_eq!(json!(decision), alone["policy"]["decision"], "{id}");
            assert_eq!(node["readiness"]["reason"], alone.get("reason").cloned().unwrap_or_default(), "{id}");
        }
    })
    .await;
}

const RUNS: &str = "query R($id: Hex32!, $after: String, $before: String, $first: Int, $last: Int) { asset(versionId: $id) { \
    policyRuns(first: $first, after: $after, last: $last, before: $before) { \
        pageInfo { hasNextPage hasPreviousPage endCursor startCursor } \
        nodes { runId policyId versionId decision reasons warnings evaluatedAt evidence policy { name } asset { versionId } } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_told() {
    with(Setup::seeded(), async |app| {
        let id = app
            .rows("select version_id from declarations where envelope is not null order by 1 limit 1")
            .await
            .remove(0);
        let none = app.query(RUNS, json!({"id": id})).await;
        assert_eq!(none["asset"]["policyRuns"]["nodes"], json!([]));
        for policy in ["pol_open-data", "pol_production-ml", "pol_open-data"] {
            app.json(&format!("/ready?versionId={id}&policyId={policy}")).await;
        }
        // The page that was kept without them is not told any more.
        let runs = app.query(RUNS, json!({"id": id})).await["asset"]["policyRuns"]["nodes"].clone();
        let rows = app.rows("select row_to_json(r)::text from policy_runs r order by evaluated_at desc, run_id").await;
        let runs = runs.as_array().expect("runs");
        assert_eq!((runs.len(), rows.len()), (3, 3));
        for (run, row) in runs.iter().zip(rows) {
            let row: Value = serde_json::from_str(&row).expect("JSON");
            for (field, column) in [
                ("runId", "run_id"),
                ("policyId", "policy_id"),
                ("versionId", "version_id"),
                ("reasons", "reasons"),
                ("warnings", "warnings"),
                ("evidence", "evidence"),
            ] {
                assert_eq!(run[field], row[column], "{field}");
            }
            assert_eq!(run["decision"].as_str().map(str::to_lowercase).as_deref(), row["decision"].as_str());
            assert_eq!(run["asset"]["versionId"], json!(id));
            assert!(run["policy"]["name"].is_string());
        }

        let ids = |page: &Value| -> Vec<String> {
            let nodes = page["asset"]["policyRuns"]["nodes"].as_array().expect("nodes");
            nodes.iter().map(|run| run["runId"].as_str().expect("id").to_owned()).collect()
        };
        let all: Vec<String> = runs.iter().map(|run| run["runId"].as_str().expect("id").to_owned()).collect();
        let first = app.query(RUNS, json!({"id": id, "first": 2})).await;
        assert_eq!(ids(&first), all[..2]);
        let info = &first["asset"]["policyRuns"]["pageInfo"];
        assert_eq!(info["hasNextPage"], json!(true));
        let second = app.query(RUNS, json!({"id": id, "first": 2, "after": info["endCursor"]})).await;
        assert_eq!(ids(&second), all[2..]);
        let last = app.query(RUNS, json!({"id": id, "last": 2})).await;
        assert_eq!(ids(&last), all[1..]);

        const OF_POLICIES: &str =
            "{ policies(first: 10) { nodes { policyId runs(first: 10) { nodes { runId policyId } } } } }";
        app.settled().await;
        let (data, statements) = app.statements(app.query(OF_POLICIES, Value::Null)).await;
        assert!(statements <= 2, "the page of policies, and all their runs: {statements}");
        for policy in data["policies"]["nodes"].as_array().expect("policies") {
            let sql = format!(
                "select run_id from policy_runs where policy_id = '{}' order by evaluated_at desc, run_id",
                policy["policyId"].as_str().expect("id")
            );
            let told = policy["runs"]["nodes"].as_array().expect("runs");
            let told: Vec<&str> = told.iter().map(|run| run["runId"].as_str().expect("id")).collect();
            assert_eq!(told, app.rows(&sql).await);
        }
    })
    .await;
}
