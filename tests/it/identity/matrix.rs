//! Every mutation and every route that writes, asked by everybody: the table in `tests/data/authorization.txt` says what comes of
//! it. What is missing from the table, or from this file, fails.

use std::collections::{BTreeMap, BTreeSet};

use overlay::domain::hex::encode_hex;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::chain::{Chain, declaring};
use crate::harness::keys::{Keys, bytes, nonce, with_headers};
use crate::harness::{Setup, TestApp, private_redis, with};

const TABLE: &str = "tests/data/authorization.txt";

/// Who asks, in the order of the table's columns.
const STANDINGS: [&str; 9] =
    ["anonymous", "other", "owner", "admin", "session", "expired", "replayed", "tampered", "developer"];

/// Everybody's keys: those of the owner, of another producer, and of an administrator.
struct Cast {
    owner: Keys,
    other: Keys,
    admin: Keys,
}

/// A request that its owner, or an administrator, may make, with all that it needs made beforehand.
async fn prepared(app: &TestApp, cast: &Cast, what: &str, n: usize) -> Option<(Method, String, Value)> {
    let sql = async |text: String| {
        app.sql(&text).await;
        app.caught_up().await;
    };
    let manifest = json!({
        "type": "datasetVersionManifest", "datasetId": format!("matrix-{n}"), "content": {"contentHash": "ab".repeat(32)},
        "provenance": {"createdAt": "2026-01-02T03:04:05Z", "producer": {"identityKey": cast.owner.key, "name": "Owner"}},
    });
    let version = overlay::domain::assets::manifest::version_id(&manifest);
    let tx = declaring(&version);
    let raw = encode_hex(&tx.to_bytes());
    let policy = format!("pol-{n}");
    let insert_policy = format!("insert into policies (policy_id, name, doc) values ('{policy}', 'n', '{{}}')");
    let advisory = format!("adv-{n}");
    let insert_advisory =
        format!("insert into advisories (advisory_id, type, reason) values ('{advisory}', 'WARN', 'r')");
    let known = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
    match what {
        "publishAsset" => mutation(what, json!({"manifest": manifest, "rawTx": raw})),
        "POST /api/v1/lineage" | "POST /openlineage/ingest" => {
            route(Method::POST, what.trim_start_matches("POST "), crate::lineage::event("run", "START", 1, &[], &[]))
        }
        "ingestLineageEvent" => {
            mutation(what, json!({"event": crate::lineage::event(&format!("run-{n}"), "START", 1, &[], &[])}))
        }
        "retryDeadLetter" => {
            let payload = crate::lineage::event(&format!("run-{n}"), "START", 1, &[], &[]).to_string();
            let hash = format!("{n:064x}");
            sql(format!(
                "insert into lineage_dead_letters (payload, payload_hash, errors) values ('{payload}', '{hash}', '[]') \
                on conflict do nothing"
            ))
            .await;
            mutation(what, json!({"payloadHash": hash}))
        }
        "POST /api/v1/lineage/batch" => route(Method::POST, "/api/v1/lineage/batch", json!([])),
        "POST /submit" => route(Method::POST, "/submit", json!({"manifest": manifest, "rawTx": raw})),
        "attachProof" => {
            let published = json!({"manifest": manifest, "rawTx": raw});
            let answer = cast.owner.request(app, Method::POST, "/submit", &published).send().await.expect("answer");
            assert!(answer.status().is_success());
            let envelope = Chain::of(app).await.proof_of(app, &tx).await;
            app.caught_up().await;
            mutation(what, json!({"versionId": version, "proof": {"envelope": envelope}}))
        }
        "openSession" => {
            let text = "mutation { openSession { __typename } }";
            Some((Method::POST, "/graphql".to_owned(), json!({"query": text})))
        }
        "closeSession" => {
            let (_, id) = super::sessions::open(app, &cast.owner).await;
            mutation(what, json!({"sessionId": id}))
        }
        "registerProducer" => mutation(what, json!({"name": "N"})),
        "POST /producers/register" => route(Method::POST, "/producers/register", json!({"name": "N"})),
        "savePolicy" => mutation(what, json!({"policyId": policy, "name": "N", "document": {}})),
        "removePolicy" => {
            sql(insert_policy).await;
            mutation(what, json!({"policyId": policy}))
        }
        "evaluatePolicy" => mutation(what, json!({"versionId": known, "policy": {}})),
        "POST /policies" => route(Method::POST, "/policies", json!({"policyId": policy, "name": "N", "doc": {}})),
        "PATCH /policies/{policy_id}" => {
            sql(insert_policy).await;
            route(Method::PATCH, &format!("/policies/{policy}"), json!({"name": "M"}))
        }
        "DELETE /policies/{policy_id}" => {
            sql(insert_policy).await;
            route(Method::DELETE, &format!("/policies/{policy}"), Value::Null)
        }
        "POST /policies/evaluate" => {
            route(Method::POST, "/policies/evaluate", json!({"versionId": known, "policy": {}}))
        }
        "POST /ready" => route(Method::POST, "/ready", json!({"versionId": known})),
        "issueAdvisory" => mutation(what, json!({"type": "WARN", "reason": "r", "versionIds": [known]})),
        "POST /advisories" => {
            route(Method::POST, "/advisories", json!({"type": "WARN", "reason": "r", "versionIds": [known]}))
        }
        "withdrawAdvisory" => {
            sql(insert_advisory).await;
            mutation(what, json!({"advisoryId": advisory}))
        }
        "DELETE /advisories/{advisory_id}" => {
            sql(insert_advisory).await;
            route(Method::DELETE, &format!("/advisories/{advisory}"), Value::Null)
        }
        "POST /api/v1/chain/merkleroot/verify" => route(
            Method::POST,
            "/api/v1/chain/merkleroot/verify",
            json!([{"merkleRoot": "ab".repeat(32), "blockHeight": 1}]),
        ),
        _ => prepared_trade(app, cast, what, n, &known, json!({"manifest": manifest, "rawTx": raw}), &version).await,
    }
}

fn mutation(field: &str, input: Value) -> Option<(Method, String, Value)> {
    let text = format!("mutation M($input: {}Input!) {{ {field}(input: $input) {{ __typename }} }}", capital(field));
    Some((Method::POST, "/graphql".to_owned(), json!({"query": text, "variables": {"input": input}})))
}

fn route(method: Method, path: &str, body: Value) -> Option<(Method, String, Value)> {
    Some((method, path.to_owned(), body))
}

/// The same for prices and receipts. `submission` publishes `version` for the owner; `known` is somebody's.
async fn prepared_trade(
    app: &TestApp, cast: &Cast, what: &str, n: usize, known: &str, submission: Value, version: &str,
) -> Option<(Method, String, Value)> {
    let sql = async |text: String| {
        app.sql(&text).await;
        app.caught_up().await;
    };
    match what {
        "setPriceRule" | "POST /price" | "POST /price/rules" | "removePriceRule" | "DELETE /price/rules" => {
            let answer = cast.owner.request(app, Method::POST, "/submit", &submission).send().await.expect("answer");
            assert!(answer.status().is_success());
            sql(format!("insert into price_rules (rule_id, version_id, satoshis) values ('rule-{n}', '{version}', 5)"))
                .await;
            match what {
                "setPriceRule" => mutation(what, json!({"versionId": version, "unitPrice": "7"})),
                "removePriceRule" => mutation(what, json!({"versionId": version})),
                "DELETE /price/rules" => {
                    route(Method::DELETE, &format!("/price/rules?versionId={version}"), Value::Null)
                }
                _ => route(Method::POST, &what["POST ".len()..], json!({"versionId": version, "satoshis": 7})),
            }
        }
        "createReceipt" => mutation(what, json!({"versionId": known})),
        "POST /pay" => route(Method::POST, "/pay", json!({"versionId": known})),
        "quotePayment" | "POST /payments/quote" | "submitPayment" | "POST /payments/submit" | "attachPaymentProof" => {
            let id = format!("rcp-{n}");
            let payment = declaring(&format!("{n:064x}"));
            let raw = encode_hex(&payment.to_bytes());
            let (status, txid) = match what {
                "attachPaymentProof" => ("paid", format!("'{}'", payment.txid())),
                _ => ("pending", "null".to_owned()),
            };
            sql(format!(
                "insert into receipts (receipt_id, version_id, status, unit_price_sat, amount_sat, quote_template_hash, \
                     quote_expires_at, payment_txid, payment_raw_tx, expires_at, buyer_key) \
                 values ('{id}', '{known}', '{status}', 1, 1, '{known}', now() + interval '1 hour', {txid}, '{raw}', \
                     now() + interval '1 hour', '{}')",
                cast.owner.key
            ))
            .await;
            match what {
                "quotePayment" => mutation(what, json!({"receiptId": id})),
                "POST /payments/quote" => route(Method::POST, "/payments/quote", json!({"receiptId": id})),
                "submitPayment" => mutation(what, json!({"receiptId": id, "rawTx": raw})),
                "POST /payments/submit" => {
                    route(Method::POST, "/payments/submit", json!({"receiptId": id, "rawTx": raw}))
                }
                _ => {
                    let envelope = Chain::of(app).await.proof_of(app, &payment).await;
                    app.caught_up().await;
                    mutation(what, json!({"receiptId": id, "proof": {"envelope": envelope}}))
                }
            }
        }
        _ => None,
    }
}

fn capital(field: &str) -> String {
    field[..1].to_uppercase() + &field[1..]
}

/// The request as `standing` sends it.
async fn sent(app: &TestApp, cast: &Cast, standing: &str, request: (Method, String, Value)) -> RequestBuilder {
    let (method, path, body) = request;
    let plain = app.http.request(method.clone(), format!("{}{path}", app.url));
    let raw = bytes(&body);
    match standing {
        "anonymous" | "developer" => with_headers(plain, []).body(raw),
        "other" => cast.other.request(app, method, &path, &body),
        "owner" => cast.owner.request(app, method, &path, &body),
        "admin" => cast.admin.request(app, method, &path, &body),
        "session" => {
            let (sid, _) = super::sessions::open(app, &cast.owner).await;
            with_headers(plain, []).bearer_auth(sid).body(raw)
        }
        "expired" => {
            let (sid, id) = super::sessions::open(app, &cast.owner).await;
            const CLOSE: &str = "mutation C($id: String!) { closeSession(input: {sessionId: $id}) { __typename } }";
            cast.owner.graphql(app, CLOSE, json!({"id": id})).await;
            with_headers(plain, []).bearer_auth(sid).body(raw)
        }
        "replayed" => {
            let nonce = nonce();
            let first = json!({"query": "{ viewer { identityKey } }"});
            let headers = cast.owner.headers(&nonce, &bytes(&first));
            let used = with_headers(app.http.post(format!("{}/graphql", app.url)), headers).body(bytes(&first));
            assert!(used.send().await.expect("answer").status().is_success());
            with_headers(plain, cast.owner.headers(&nonce, &raw)).body(raw)
        }
        "tampered" => {
            let headers = cast.owner.headers(&nonce(), &raw);
            with_headers(plain, headers).body([raw, b" ".to_vec()].concat())
        }
        other => panic!("no such standing: {other}"),
    }
}

/// What came of it: `ok`, or the error's code.
async fn outcome(request: RequestBuilder) -> String {
    let answer = request.send().await.expect("answer");
    let is_success = answer.status().is_success();
    let body: Value = serde_json::from_str(&answer.text().await.expect("text")).unwrap_or_default();
    match (&body["error"], &body["errors"][0]["extensions"]["code"]) {
        (Value::String(code), _) => code.clone(),
        (_, Value::String(code)) => code.to_lowercase().replace('_', "-"),
        _ if body["errors"].is_array() => format!("an error without a code: {body}"),
        _ if is_success => "ok".to_owned(),
        _ => format!("a failure without a code: {body}"),
    }
}

/// The routes that are not reads, as the sources of the REST routes list them.
fn routes() -> BTreeSet<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transport/rest");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the routes") {
        let text = std::fs::read_to_string(entry.expect("entry").path()).expect("a source");
        for part in text.split(".route(\"").skip(1) {
            let (path, rest) = part.split_once('"').expect("a path");
            // Up to the next route, or the end of the function that lists them.
            let handlers = rest.split(".route(").next().and_then(|text| text.split('}').next()).unwrap_or_default();
            for method in ["post", "patch", "put", "delete"] {
                let is_called =
                    [format!(" {method}("), format!(".{method}(")].iter().any(|call| handlers.contains(call));
                if is_called {
                    found.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
    }
    found
}

async fn mutations(app: &TestApp) -> BTreeSet<String> {
    let data = app.query("{ __schema { mutationType { fields { name } } } }", Value::Null).await;
    let fields = data["__schema"]["mutationType"]["fields"].as_array().expect("fields");
    fields.iter().map(|field| field["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says() {
    let Some((server, _folder)) = private_redis().await else { return };
    let cast = Cast { owner: Keys::of(11), other: Keys::of(12), admin: Keys::of(13) };
    let setup = |is_open: bool| {
        let setup = Setup::seeded().redis(server.url()).with("ADMIN_IDENTITY_KEYS", cast.admin.key.clone());
        if is_open { setup.with("DEV_IDENTITY", "true") } else { setup }
    };
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (is_open, standings) in [(false, &STANDINGS[..8]), (true, &STANDINGS[8..])] {
        with(setup(is_open), async |app| {
            let all: BTreeSet<String> = routes().into_iter().chain(mutations(app).await).collect();
            assert!(all.len() >= 20, "{all:?}");
            let mut n = 0;
            for what in all {
                for standing in standings {
                    n += 1;
                    let request = prepared(app, &cast, &what, n).await;
                    let request = request.unwrap_or_else(|| panic!("`{what}` is not in this test: who may do it?"));
                    let told = outcome(sent(app, &cast, standing, request).await).await;
                    table.entry(what.clone()).or_default().push(told);
                }
            }
        })
        .await;
    }
    let mut text = format!("{:<38}{}\n", "", STANDINGS.map(|s| format!("{s:<18}")).concat().trim_end());
    for (what, outcomes) in &table {
        let cells: String = outcomes.iter().map(|told| format!("{told:<18}")).collect();
        text += &format!("{what:<38}{}\n", cells.trim_end());
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept != text {
        let made = std::env::temp_dir().join("authorization.txt");
        std::fs::write(&made, &text).expect("written");
        panic!("{TABLE} says otherwise. If this is what is wanted, put it there from {}:\n{text}", made.display());
    }
}
