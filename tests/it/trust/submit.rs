//! `POST /submit`: what is published is there at once, all of it or nothing.

use overlay::domain::spv::{Beef, Envelope, Transaction, TscProof, TscTarget, encode_hex};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::chain::{Chain, declaring};
use crate::harness::{Setup, TestApp, refused, with};

fn open() -> Setup {
    Setup::seeded().with("DEV_IDENTITY", "true")
}

fn manifest(name: &str, parents: &[&str]) -> Value {
    json!({
        "type": "datasetVersionManifest", "datasetId": format!("data-{name}"), "description": "made for a test",
        "content": {"contentHash": "ab".repeat(32), "name": name, "sizeBytes": 10, "mimeType": "text/csv"},
        "lineage": {"parents": parents},
        "provenance": {"createdAt": "2026-01-02T03:04:05Z",
            "producer": {"identityKey": format!("02{}", "cd".repeat(32)), "name": "Tester"}},
        "policy": {"license": "MIT", "classification": "public", "pii_flags": []},
    })
}

fn id_of(manifest: &Value) -> String {
    overlay::domain::assets::manifest::version_id(manifest)
}

fn hex(tx: &Transaction) -> String {
    encode_hex(&tx.to_bytes())
}

async fn submit(app: &TestApp, body: &Value) -> Response {
    app.http.post(format!("{}/submit", app.url)).json(body).send().await.expect("answer")
}

/// Everything that publishing writes.
async fn stored(app: &TestApp) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["assets", "asset_parents", "producers", "declarations", "bundle_audit"] {
        rows.extend(app.rows(&format!("select '{table}' || row_to_json(t)::text from {table} t order by 1")).await);
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_must_be_is_told() {
    with(Setup::empty(), async |app| {
        let answer = app.get("/manifest.schema.json").send().await.expect("answer");
        assert_eq!(answer.headers()["content-type"], "application/schema+json");
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("it", answer.json().await.expect("JSON")).expect("a schema");
        let schema = compiler.compile("it", &mut schemas).expect("a schema");
        assert!(schemas.validate(&manifest("first", &[]), schema).is_ok());
        assert!(schemas.validate(&json!({"type": "datasetVersionManifest"}), schema).is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_published_declared_and_proven() {
    with(open(), async |app| {
        let parent = &app.rows("select version_id from declarations where envelope is not null order by 1 limit 1").await[0];
        let manifest = manifest("first", &[parent]);
        let id = id_of(&manifest);
        let tx = declaring(&id);
        let body = json!({"rawTx": hex(&tx), "manifest": manifest, "topics": ["tm_dlm1"]});
        let answer = submit(app, &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let token = answer.headers()["overlay-consistency"].to_str().expect("text").to_owned();
        let told: Value = answer.json().await.expect("JSON");
        let expected = json!({"status": "success", "txid": tx.txid().to_string(), "versionId": id, "type": "DLM1", "vout": 0, "topics": ["tm_dlm1"]});
        assert_eq!(told, expected);
        let listing = app.get(&format!("/listings/{id}")).header("Overlay-Consistency", token).send().await.expect("answer");
        assert_eq!(listing.json::<Value>().await.expect("JSON")["manifest"]["name"], "first");
        let ready = app.json(&format!("/ready?versionId={id}")).await;
        assert_eq!(ready["reason"], "missing-envelope");

        // The same again: the same answer, and nothing written.
        let before = stored(app).await;
        assert_eq!(submit(app, &body).await.json::<Value>().await.expect("JSON"), expected);
        assert_eq!(stored(app).await, before);

        // With its proof.
        let mut chain = Chain::of(app).await;
        let envelope = chain.proof_of(app, &tx).await;
        let proven = json!({"rawTx": hex(&tx), "manifest": manifest, "suggestedEnvelope": envelope});
        assert_eq!(submit(app, &proven).await.status(), StatusCode::OK);
        let ready = app.json(&format!("/ready?versionId={id}")).await;
        assert_eq!((&ready["ready"], &ready["confirmations"]), (&json!(true), &json!(1)));
        let bundle = app.json(&format!("/bundle?versionId={id}")).await;
        assert!(bundle["graph"]["nodes"].as_array().expect("nodes").len() > 1);
        let fact = format!("select block_height::text from bundle_audit where version_id = '{id}' and not reorged");
        assert_eq!(app.rows(&fact).await, [chain.height().to_string()]);

        // Without it again: what is proven stays proven.
        assert_eq!(submit(app, &body).await.status(), StatusCode::OK);
        assert_eq!(app.json(&format!("/ready?versionId={id}")).await["ready"], json!(true));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    with(open(), async |app| {
        let (manifest, other) = (manifest("one", &[]), manifest("two", &[]));
        let (id, other_id) = (id_of(&manifest), id_of(&other));
        let (tx, other_tx) = (declaring(&id), declaring(&other_id));
        let mut chain = Chain::of(app).await;
        let envelope = chain.proof_of(app, &tx).await;
        let other_envelope = chain.proof_of(app, &other_tx).await;
        let mut second = tx.clone();
        second.lock_time = 7;
        let with = |field: &str, value: Value| {
            let mut body = json!({"rawTx": hex(&tx), "manifest": manifest});
            body[field] = value;
            body
        };
        let edited = |pointer: &str, value: Value| {
            let mut manifest = manifest.clone();
            *manifest.pointer_mut(pointer).expect("a place") = value;
            with("manifest", manifest)
        };
        let mut named = manifest.clone();
        named["versionId"] = json!(other_id);
        let mut unknown_block = envelope.clone();
        unknown_block["block"] = json!({"blockHash": "00".repeat(32)});
        let cases = [
            (with("rawTx", json!("zz")), StatusCode::BAD_REQUEST, "bad-request", "rawTx"),
            (with("rawTx", json!("00")), StatusCode::BAD_REQUEST, "bad-request", "rawTx"),
            (with("rawTx", json!(hex(&other_tx))), StatusCode::CONFLICT, "onchain-mh-mismatch", ""),
            (with("manifest", named), StatusCode::CONFLICT, "versionid-mismatch", "versionId"),
            (edited("/type", json!("x")), StatusCode::UNPROCESSABLE_ENTITY, "invalid-manifest", "/type"),
            (
                edited("/content", json!({})),
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-manifest",
                "/content/contentHash",
            ),
            (with("suggestedEnvelope", json!({})), StatusCode::BAD_REQUEST, "bad-request", "suggestedEnvelope"),
            (
                with("suggestedEnvelope", other_envelope),
                StatusCode::CONFLICT,
                "spv-verification-failed",
                "txid-mismatch-top-level-vs-proof",
            ),
            (
                with("suggestedEnvelope", unknown_block),
                StatusCode::CONFLICT,
                "spv-verification-failed",
                "unknown-block-hash",
            ),
            (with("topics", json!(vec!["t"; 101])), StatusCode::BAD_REQUEST, "bad-request", "topics"),
        ];
        let before = stored(app).await;
        for (body, status, code, hint) in cases {
            let answer = submit(app, &body).await;
            let (told, told_hint) = refused(answer, status).await;
            assert_eq!((told.as_str(), told_hint.unwrap_or_default().as_str()), (code, hint), "{body}");
            assert_eq!(stored(app).await, before, "{code} {hint}");
        }
        let form =
            app.http.post(format!("{}/submit", app.url)).body("{}").header("content-type", "text/plain").send().await;
        assert_eq!(
            refused(form.expect("answer"), StatusCode::UNSUPPORTED_MEDIA_TYPE).await.0,
            "unsupported-media-type"
        );
        let large = with("manifest", json!("x".repeat(300_000)));
        assert_eq!(refused(submit(app, &large).await, StatusCode::PAYLOAD_TOO_LARGE).await.0, "payload-too-large");
        assert_eq!(stored(app).await, before);

        // A version has one transaction that declares it.
        assert_eq!(submit(app, &with("topics", json!([]))).await.status(), StatusCode::OK);
        let published = stored(app).await;
        let answer = submit(app, &with("rawTx", json!(hex(&second)))).await;
        assert_eq!(refused(answer, StatusCode::CONFLICT).await.0, "already-declared");
        assert_eq!(stored(app).await, published);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_without_an_identity() {
    with(Setup::seeded(), async |app| {
        let before = stored(app).await;
        let manifest = manifest("anonymous", &[]);
        let body = json!({"rawTx": hex(&declaring(&id_of(&manifest))), "manifest": manifest});
        assert_eq!(refused(submit(app, &body).await, StatusCode::UNAUTHORIZED).await.0, "identity-required");
        assert_eq!(stored(app).await, before);
    })
    .await;
}

/// A developer's browser shows other pages too, and what they send comes from the same machine.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_are_not_the_developer() {
    with(open(), async |app| {
        let manifest = manifest("page", &[]);
        let body = json!({"rawTx": hex(&declaring(&id_of(&manifest))), "manifest": manifest});
        let send = async |origin: &str| {
            let request = app.http.post(format!("{}/submit", app.url)).header("origin", origin).json(&body);
            request.send().await.expect("answer")
        };
        let before = stored(app).await;
        for origin in ["https://evil.example", "http://localhost.evil.example", "null", "http://10.0.0.1:8788", "x"] {
            assert_eq!(refused(send(origin).await, StatusCode::UNAUTHORIZED).await.0, "identity-required", "{origin}");
        }
        assert_eq!(stored(app).await, before);
        for origin in ["http://localhost:8788", "http://127.0.0.1:8788", "http://[::1]:3000"] {
            assert_eq!(send(origin).await.status(), StatusCode::OK, "{origin}");
        }
    })
    .await;
}

/// One proof in every form in which wallets and nodes hand it over: what is stored is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_comes_in_every_form() {
    with(open(), async |app| {
        let mut chain = Chain::of(app).await;
        for form in ["envelope", "bump", "beef", "tsc", "tsc by root"] {
            let manifest = manifest(form, &[]);
            let id = id_of(&manifest);
            let tx = declaring(&id);
            let json = chain.proof_of(app, &tx).await;
            let envelope: Envelope = serde_json::from_value(json.clone()).expect("an envelope");
            let bump = envelope.to_bump(u32::try_from(chain.height()).expect("a height")).expect("a path");
            let (field, proof) = match form {
                "envelope" => ("suggestedEnvelope", json),
                "bump" => ("suggestedEnvelope", json!(encode_hex(&bump.to_bytes()))),
                "beef" => {
                    let beef = Beef::of(vec![(tx.to_bytes(), bump)]).and_then(|beef| beef.to_bytes_v1());
                    ("beef", json!(encode_hex(&beef.expect("a BEEF"))))
                }
                form => {
                    let target = match form {
                        "tsc" => TscTarget::BlockHash(chain.tip()),
                        _ => TscTarget::MerkleRoot(envelope.proof.merkle_root),
                    };
                    let (txid, path) = (tx.txid(), envelope.proof.path.clone());
                    ("suggestedEnvelope", json!(TscProof { txid, raw: None, target, path }))
                }
            };
            let mut body = json!({"rawTx": hex(&tx), "manifest": manifest});
            body[field] = proof.clone();
            let answer = submit(app, &body).await;
            assert_eq!(answer.status(), StatusCode::OK, "{form}: {}", answer.text().await.expect("body"));
            let ready = app.json(&format!("/ready?versionId={id}")).await;
            assert_eq!((&ready["ready"], &ready["confirmations"]), (&json!(true), &json!(1)), "{form}");
            // The same proof for another version proves nothing.
            let other = self::manifest(&format!("not {form}"), &[]);
            let mut body = json!({"rawTx": hex(&declaring(&id_of(&other))), "manifest": other});
            body[field] = proof;
            assert_eq!(
                refused(submit(app, &body).await, StatusCode::CONFLICT).await.0,
                "spv-verification-failed",
                "{form}"
            );
        }
    })
    .await;
}

/// Several at a time with different transactions for one version: one wins, and its row is whole.
#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_publish_at_a_time_one_wins() {
    with(open(), async |app| {
        for round in 0..10 {
            let manifest = manifest(&format!("race {round}"), &[]);
            let id = id_of(&manifest);
            let txs: Vec<Transaction> = (0..6).map(|n| Transaction { lock_time: n, ..declaring(&id) }).collect();
            let bodies = txs.iter().map(|tx| json!({"rawTx": hex(tx), "manifest": manifest})).collect::<Vec<_>>();
            let answers = futures_util::future::join_all(bodies.iter().map(|body| submit(app, body))).await;
            let won: Vec<usize> = (0..6).filter(|n| answers[*n].status() == StatusCode::OK).collect();
            assert_eq!(won.len(), 1, "{:?}", answers.iter().map(Response::status).collect::<Vec<_>>());
            assert!(answers.iter().all(|a| [StatusCode::OK, StatusCode::CONFLICT].contains(&a.status())));
            let stored = app.rows(&format!("select txid || raw_tx from declarations where version_id = '{id}'")).await;
            assert_eq!(stored, [format!("{}{}", txs[won[0]].txid(), hex(&txs[won[0]]))]);
        }
    })
    .await;
}

/// A version that was published with the wrong transaction, or whose transaction a reorg has replaced, is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_worth_nothing_makes_way() {
    with(open(), async |app| {
        let manifest = manifest("twice", &[]);
        let id = id_of(&manifest);
        let txid =
            async || app.rows(&format!("select txid || ' ' || kind from declarations where version_id = '{id}'")).await;
        let body = |tx: &Transaction, envelope: Option<Value>| {
            let mut body = json!({"rawTx": hex(tx), "manifest": manifest});
            if let Some(envelope) = envelope {
                body["suggestedEnvelope"] = envelope;
            }
            body
        };
        let right = declaring(&id);
        let output = overlay::domain::spv::Output { satoshis: 1, script: vec![0x51] };
        let silent = Transaction { outputs: vec![output], ..right.clone() };
        let told: Value = submit(app, &body(&silent, None)).await.json().await.expect("JSON");
        assert_eq!(told["type"], "UNKNOWN");
        assert_eq!(submit(app, &body(&right, None)).await.status(), StatusCode::OK);
        assert_eq!(txid().await, [format!("{} DLM1", right.txid())]);
        // The other way there is none, nor to another that is proven as little.
        let other = Transaction { lock_time: 2, ..right.clone() };
        for tx in [&silent, &other] {
            assert_eq!(refused(submit(app, &body(tx, None)).await, StatusCode::CONFLICT).await.0, "already-declared");
        }
        // One that is proven takes the place of one that is not.
        let mut chain = Chain::of(app).await;
        let proof = chain.proof_of(app, &other).await;
        assert_eq!(submit(app, &body(&other, Some(proof))).await.status(), StatusCode::OK);
        assert_eq!(txid().await, [format!("{} DLM1", other.txid())]);
        app.caught_up().await;
        assert_eq!(app.json(&format!("/ready?versionId={id}")).await["ready"], true);
        let before = chain.take_off(app, 1).await;
        let proof = chain.proof_of(app, &right).await;
        // While the first proof holds, it stays; once its block is gone, the other takes its place.
        before.put_on(app).await;
        app.caught_up().await;
        assert_eq!(submit(app, &body(&right, Some(proof.clone()))).await.status(), StatusCode::CONFLICT);
        assert_eq!(txid().await, [format!("{} DLM1", other.txid())]);
        chain.put_on(app).await;
        app.caught_up().await;
        assert_eq!(app.json(&format!("/ready?versionId={id}")).await["ready"], false);
        assert_eq!(submit(app, &body(&right, Some(proof))).await.status(), StatusCode::OK);
        assert_eq!(txid().await, [format!("{} DLM1", right.txid())]);
        app.caught_up().await;
        assert_eq!(app.json(&format!("/ready?versionId={id}")).await["ready"], true);
    })
    .await;
}
