//! Import: every line is applied wholly or refused by name, and a run that was cut off goes on where it ended.

use std::io::{BufReader, Read};

use overlay::db::Db;
use overlay::flows::import::{self, Catalogue, Progress, Report};
use serde_json::{Value, json};

use crate::harness::{Setup, TestApp, patient, with};

struct Silent;

impl Progress for Silent {
    fn at(&mut self, _bytes: u64, _report: &Report) {}
}

fn manifest(number: usize, parents: &[String]) -> Value {
    json!({
        "type": "datasetVersionManifest", "datasetId": format!("test/{number}"), "description": "made up",
        "content": {"contentHash": format!("{number:064x}"), "sizeBytes": number, "mimeType": "text/csv"},
        "lineage": {"parents": parents, "transforms": []},
        "provenance": {"createdAt": "2026-01-02T03:04:05Z",
            "producer": {"identityKey": format!("02{:064x}", number % 3), "name": format!("Producer {}", number % 3)}},
        "policy": {"license": "MIT", "classification": "public", "pii_flags": [], "tags": ["made-up"]},
    })
}

/// A chain of manifests, each the parent of the next, as lines.
fn chain(length: usize) -> Vec<String> {
    let mut parent: Vec<String> = Vec::new();
    let line = |number| {
        let manifest = manifest(number, &parent);
        parent = vec![overlay::domain::assets::manifest::version_id(&manifest)];
        manifest.to_string()
    };
    (0..length).map(line).collect()
}

async fn import(app: &TestApp, input: impl Read + Send, source: Option<&str>) -> (Result<Report, String>, String) {
    let db = Db::connect(&patient(&app.database_url)).await.expect("connect");
    let mut rejects = Vec::new();
    let outcome = import::jsonl(
        Catalogue { db: &db, namespace: "overlay:dev" },
        BufReader::new(input),
        source,
        &mut rejects,
        &mut Silent,
    )
    .await;
    db.close().await;
    (outcome.map_err(|e| format!("{e:?}")), String::from_utf8(rejects).expect("rejects are text"))
}

async fn count(app: &TestApp, table: &str) -> String {
    app.rows(&format!("select count(*)::text from {table}")).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn good_lines_are_applied_and_shown_and_bad_ones_are_refused_by_number_and_reason() {
    with(Setup::empty(), async |app| {
        let mut lines = chain(5);
        let mut forged = manifest(100, &[]);
        forged["versionId"] = json!("0".repeat(64));
        lines.insert(1, "not json".into());
        lines.insert(3, r#"{"type":"datasetVersionManifest"}"#.into());
        lines.insert(4, forged.to_string());
        lines.insert(5, String::new());
        lines.push(lines[0].clone());
        lines.push(format!("\"{}\"", "x".repeat(2 << 20)));
        lines.push("[".repeat(100_000));
        let (report, rejects) = import(app, lines.join("\n").as_bytes(), None).await;
        let report = report.expect("imports");
        assert_eq!((report.lines, report.added, report.known, report.rejected), (12, 5, 1, 5));
        let rejects: Vec<Value> = rejects.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let at = |n: u64| {
            let reject = rejects.iter().find(|r| r["line"] == n).unwrap_or_else(|| panic!("line {n}: {rejects:?}"));
            reject["reasons"].to_string()
        };
        assert!(at(2).contains("not JSON"));
        assert!(at(4).contains("/provenance/createdAt") && at(4).contains("/content/contentHash"), "{}", at(4));
        assert!(at(5).contains("/versionId"));
        assert!(at(11).contains("longer than"));
        assert!(at(12).contains("not JSON"));
        app.caught_up().await;
        let shown = app
            .query("{ assets(first: 10, orderBy: NAME_ASC) { nodes { name sizeBytes parents { name } } } }", json!({}));
        let shown = shown.await["assets"]["nodes"].take();
        assert_eq!(shown[2], json!({"name": "test/2", "sizeBytes": "2", "parents": [{"name": "test/1"}]}));
        assert_eq!(count(app, "producers").await, "3");
        let lineage = app.query(
            "{ assets(first: 1, filter: {name: {eq: \"test/2\"}}) { nodes { lineage(direction: UP) { nodes { asset { name } } } } } }",
            json!({}),
        );
        let names: Vec<Value> = lineage.await["assets"]["nodes"][0]["lineage"]["nodes"].as_array().expect("nodes").iter()
            .map(|node| node["asset"]["name"].clone()).collect();
        assert_eq!(names, ["test/2", "test/1", "test/0"], "lineage is told of what is imported");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_changes_nothing() {
    with(Setup::empty(), async |app| {
        let lines = chain(50).join("\n");
        let source = Some("test:again");
        let (first, _) = import(app, lines.as_bytes(), source).await;
        assert_eq!(first.expect("imports").added, 50);
        let before = app.rows("select t::text from assets t order by version_id").await;
        let (named, _) = import(app, lines.as_bytes(), source).await;
        let named = named.expect("imports");
        assert_eq!((named.resumed_after, named.added, named.known), (50, 0, 0), "it is known by its name");
        let (nameless, _) = import(app, lines.as_bytes(), None).await;
        let nameless = nameless.expect("imports");
        assert_eq!((nameless.added, nameless.known), (0, 50), "it is known by its lines");
        assert_eq!(app.rows("select t::text from assets t order by version_id").await, before);
        assert_eq!(count(app, "lineage_event_audit").await, "50", "each is told of once");
    })
    .await;
}

/// Breaks off after some bytes, like a disk or a pipe that goes away.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(std::io::Error::other("the disk is gone")),
            read => Ok(read),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_cut_off_goes_on_and_ends_like_a_clean_one() {
    // More than two batches, cut in the middle of a line of the third.
    let lines = chain(5_000).join("\n");
    let cut = lines.len() * 9 / 10;
    let mut clean = Vec::new();
    with(Setup::empty(), async |app| {
        import(app, lines.as_bytes(), None).await.0.expect("imports");
        clean = app.rows("select to_jsonb(t) - 'updated_at' || '{}' #>> '{}' from assets t order by version_id").await;
    })
    .await;
    with(Setup::empty(), async |app| {
        let source = Some("test:cut");
        let (cut_off, _) = import(app, Broken(&lines.as_bytes()[..cut]), source).await;
        assert!(cut_off.expect_err("cut off").contains("the disk is gone"));
        assert_eq!(count(app, "assets").await, "4000", "whole batches only");
        let (resumed, _) = import(app, lines.as_bytes(), source).await;
        let resumed = resumed.expect("goes on");
        assert_eq!((resumed.resumed_after, resumed.added), (4_000, 1_000));
        let noted =
            app.rows("select lines_done || ' ' || rows_in || ' ' || rejected || ' ' || finished from import_progress");
        assert_eq!(noted.await, ["5000 5000 0 true"]);
        let shown = app.rows("select to_jsonb(t) - 'updated_at' || '{}' #>> '{}' from assets t order by version_id");
        assert_eq!(shown.await, clean);
        assert_eq!(count(app, "asset_parents").await, "4999");
    })
    .await;
}

/// A line that the database refuses is refused alone, wholly, and by its number.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_refused_line_by_line() {
    with(Setup::empty(), async |app| {
        app.sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no such parent'; end $$; \
             create trigger refuse before insert on asset_parents for each row execute function refuse()",
        )
        .await;
        let (outcome, rejects) = import(app, chain(10).join("\n").as_bytes(), Some("test:refused")).await;
        let report = outcome.expect("goes on");
        assert_eq!((report.added, report.rejected), (1, 9), "only the first has no parent");
        assert!(rejects.lines().all(|line| line.contains("no such parent")), "{rejects}");
        assert!(rejects.starts_with(r#"{"line":2,"#), "{rejects}");
        assert_eq!(count(app, "assets").await, "1", "no half of a line");
        let noted = app.rows("select lines_done || ' ' || rejected || ' ' || finished from import_progress");
        assert_eq!(noted.await, ["10 9 true"]);
    })
    .await;
}

/// A batch that fails for another reason is not applied at all, nor noted.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_leaves_nothing_behind() {
    with(Setup::empty(), async |app| {
        app.sql("alter table asset_parents rename to asset_parents_away").await;
        let (outcome, _) = import(app, chain(10).join("\n").as_bytes(), Some("test:failed")).await;
        assert!(outcome.is_err());
        for table in ["assets", "producers", "import_progress"] {
            assert_eq!(count(app, table).await, "0", "{table}");
        }
    })
    .await;
}

/// The demo market is all there, and its proofs hold against its chain as the database keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_market_is_loaded_once_and_its_proofs_verify() {
    with(Setup::seeded(), async |app| {
        let counts = [
            ("producers", "12"),
            ("assets", "71"),
            ("declarations", "70"),
            ("block_headers", "41"),
            ("policies", "5"),
            ("price_rules", "23"),
            ("advisories", "3"),
            ("receipts", "13"),
        ];
        for (table, expected) in counts {
            assert_eq!(count(app, table).await, expected, "{table}");
        }
        let again = overlay::flows::seed::load(&app.app).await.expect("loads again");
        assert_eq!(again.added, 0);
        for (table, expected) in counts {
            assert_eq!(count(app, table).await, expected, "{table} after loading again");
        }
        let proven = proofs::verify_all(app).await;
        assert_eq!(proven, 68);
    })
    .await;
}

mod proofs {
    //! Verifies with what the database answers, not with what the seed meant to write.

    use std::collections::HashMap;

    use overlay::domain::spv::{
        BestChain, ChainBlock, Declaration, Envelope, Hash32, Header, Transaction, verify_envelope,
    };

    use crate::harness::TestApp;

    struct Chain(HashMap<Hash32, ChainBlock>);

    impl BestChain for Chain {
        fn block(&self, hash: &Hash32) -> Option<ChainBlock> {
            self.0.get(hash).cloned()
        }

        fn tip_height(&self) -> u32 {
            self.0.values().map(|b| b.height).max().unwrap_or(0)
        }
    }

    pub(super) async fn verify_all(app: &TestApp) -> usize {
        let headers = app.rows("select encode(raw, 'hex') || height from block_headers where on_best_chain").await;
        let mut chain = HashMap::new();
        for text in headers {
            let header = Header::from_hex(&text[..160]).expect("80 bytes");
            assert!(header.meets_target(), "proof of work");
            let block =
                ChainBlock { height: text[160..].parse().expect("height"), merkle_root: Some(header.merkle_root) };
            chain.insert(header.hash(), block);
        }
        let chain = Chain(chain);
        let envelopes = app
            .rows("select version_id || raw_tx || '|' || envelope::text from declarations where envelope is not null")
            .await;
        for text in &envelopes {
            let (head, envelope) = text.split_once('|').expect("both");
            let (version, raw) = head.split_at(64);
            let envelope: Envelope = serde_json::from_str(envelope).expect("an envelope");
            let verified = verify_envelope(&envelope, &chain).unwrap_or_else(|e| panic!("{version}: {}", e.code()));
            let transaction = Transaction::from_hex(raw).expect("a transaction");
            assert_eq!(transaction.txid(), verified.txid);
            let (_, declared) = Declaration::find(&transaction).expect("readable").expect("declared");
            let hash = declared.manifest_hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            assert_eq!(hash, version, "the transaction declares this version");
        }
        envelopes.len()
    }
}
