//! Makes the SQLite file of an old installation: a market of any size, with rows that are at fault among the others.

use std::path::{Path, PathBuf};

use overlay::domain::assets::manifest::version_id;
use overlay::domain::spv::{Hash32, Header, Transaction, encode_hex, merkle_root, sha256d};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::harness::chain::{declaring, envelope};

/// The tables and columns of the old schema.
const SCHEMA: &str = "
    create table producers (producer_id text primary key, name text, website text, identity_key text unique, created_at integer not null,
        payout_script_hex text);
    create table manifests (version_id text primary key, manifest_hash text not null, content_hash text, title text, license text,
        classification text, created_at text, manifest_json text not null, dataset_id text, producer_id text);
    create table edges (child_version_id text not null, parent_version_id text not null, rowid integer default 7,
        primary key (child_version_id, parent_version_id));
    create table declarations (version_id text primary key, txid text unique, type text not null, status text default 'pending',
        created_at integer not null, block_hash text, height integer, opret_vout integer, raw_tx text, proof_json text);
    create table prices (version_id text primary key, satoshis integer not null);
    create table price_rules (rule_id integer primary key autoincrement, version_id text, producer_id text,
        tier_from integer not null default 1, satoshis integer not null, created_at integer not null, updated_at integer not null);
    create table receipts (receipt_id text primary key, version_id text not null, quantity integer not null, content_hash text,
        amount_sat integer not null, status text not null default 'pending', created_at integer not null, expires_at integer not null,
        bytes_used integer not null default 0, last_seen integer, payment_txid text, paid_at integer, payment_outputs_json text,
        fee_sat integer, quote_template_hash text, quote_expires_at integer, unit_price_sat integer);
    create table revenue_events (event_id integer primary key autoincrement, receipt_id text not null, version_id text not null,
        amount_sat integer not null, quantity integer not null, created_at integer not null, type text not null default 'pay');
    create table policies (policy_id text primary key, name text, enabled integer, doc_json text not null, created_at integer not null,
        updated_at integer);
    create table advisories (advisory_id text primary key, type text not null, reason text not null, created_at integer not null,
        expires_at integer, payload_json text);
    create table advisory_targets (advisory_id text not null, version_id text, producer_id text,
        primary key (advisory_id, version_id, producer_id));
    create table ol_events (event_id text primary key, event_time text not null, namespace text not null, job_name text not null,
        run_id text not null, event_type text not null, payload_json text not null, hash text unique not null, created_at integer not null);
    create table ol_dlq (dlq_id text primary key, payload_json text not null, validation_errors text, attempts integer, created_at integer);
    create table ol_jobs (job_id text primary key, namespace text not null, name text not null, latest_facets_json text,
        created_at integer not null, updated_at integer not null);
    create table ol_datasets (dataset_key text primary key, namespace text not null, name text not null, latest_facets_json text,
        created_at integer not null, updated_at integer not null);
    create table ol_runs (run_key text primary key, namespace text not null, job_name text not null, run_id text not null,
        state text not null, start_time text, end_time text, facets_json text, created_at integer not null, updated_at integer not null);
    create table ol_edges (edge_id text primary key, namespace text not null, parent_dataset_name text not null,
        child_dataset_name text not null, run_id text not null, created_at integer not null);
    create table agents (agent_id text primary key, name text not null);";

/// When it all happened, epoch seconds.
pub(super) const THEN: i64 = 1_700_000_000;

/// Transactions of a block.
const IN_BLOCK: usize = 16;

/// A file, and what is in it.
pub(super) struct Old {
    pub(super) file: PathBuf,
    /// The versions, oldest first; those of even places are proven.
    pub(super) versions: Vec<String>,
    /// The blocks that prove them, lowest first.
    pub(super) headers: Vec<Header>,
    /// Rows that cannot be taken over: table, rowid, and a part of the reason.
    pub(super) faults: Vec<(&'static str, i64, &'static str)>,
}

fn key(number: usize) -> String {
    format!("02{:064x}", number + 1)
}

fn manifest(number: usize, parents: &[String]) -> Value {
    json!({
        "type": "datasetVersionManifest", "datasetId": format!("old/{}", number / 3), "description": format!("number {number}"),
        "content": {"contentHash": format!("{number:064x}"), "sizeBytes": number, "mimeType": "text/csv"},
        "lineage": {"parents": parents, "transforms": []},
        "provenance": {"createdAt": "2023-11-14T22:13:20Z", "producer": {"identityKey": key(number % 5), "name": format!("Producer {}", number % 5)}},
        "policy": {"license": "MIT", "classification": "public", "pii_flags": []},
    })
}

fn event(number: usize, id: &str, parents: &[String]) -> Value {
    let dataset = |id: &String| json!({"namespace": "overlay:old", "name": id});
    let inputs: Vec<Value> = parents.iter().map(dataset).collect();
    json!({"eventType": "COMPLETE", "eventTime": "2023-11-14T22:13:20Z", "producer": "urn:old", "schemaURL": "urn:old#run",
        "run": {"runId": format!("run-{number}")}, "job": {"namespace": "overlay:old", "name": format!("publish::{id}")},
        "inputs": inputs, "outputs": [dataset(&id.to_owned())]})
}

impl Old {
    /// A market of `count` versions in a new file in `folder`.
    pub(super) fn make(folder: &Path, count: usize) -> Self {
        let file = folder.join("overlay.db");
        let mut db = Connection::open(&file).expect("a new file");
        db.execute_batch(SCHEMA).expect("the schema");
        let tx = db.transaction().expect("begins");
        let mut old = Self { file, versions: Vec::new(), headers: Vec::new(), faults: Vec::new() };
        old.producers(&tx);
        old.publish(&tx, count);
        old.declare(&tx);
        old.trade(&tx);
        old.govern(&tx);
        old.go_wrong(&tx);
        tx.commit().expect("commits");
        old
    }

    fn producers(&self, db: &Connection) {
        let sql = "insert into producers values (?1, ?2, ?3, ?4, ?5, ?6)";
        for number in 0..5 {
            // The last has no key of its own: its manifests name it.
            let key = (number < 4).then(|| key(number).to_uppercase());
            let (id, name) = (format!("pr_{number}"), format!("Old producer {number}"));
            db.execute(sql, params![id, name, "https://old.example", key, THEN, "76a914"]).expect("a producer");
        }
    }

    fn publish(&mut self, db: &Connection, count: usize) {
        let one = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            db.prepare_cached(sql).and_then(|mut s| s.execute(values)).expect(sql)
        };
        for number in 0..count {
            let parents: Vec<String> =
                (1..=number % 3).filter_map(|back| self.versions.get(number.checked_sub(back)?).cloned()).collect();
            let manifest = manifest(number, &parents);
            let id = version_id(&manifest);
            one(
                "insert into manifests values (?1, ?1, null, 'title', 'MIT', 'public', '2023', ?2, null, ?3)",
                &[&id, &manifest.to_string(), &format!("pr_{}", number % 5)],
            );
            let event = event(number, &id, &parents).to_string();
            let (job, run) = (format!("publish::{id}"), format!("run-{number}"));
            one(
                "insert into ol_events values (?1, '2023-11-14', 'overlay:old', ?2, ?3, 'COMPLETE', ?4, ?1, ?5)",
                &[&format!("ol_{number}"), &job, &run, &event, &THEN],
            );
            one("insert into ol_jobs values (?1, 'overlay:old', ?1, null, ?2, ?2)", &[&job, &THEN]);
            one("insert into ol_datasets values (?1, 'overlay:old', ?1, null, ?2, ?2)", &[&id, &THEN]);
            one(
                "insert into ol_runs values (?1, 'overlay:old', ?2, ?1, 'COMPLETE', null, null, null, ?3, ?3)",
                &[&run, &job, &THEN],
            );
            for parent in &parents {
                one("insert into edges (child_version_id, parent_version_id) values (?1, ?2)", &[&id, parent]);
                one(
                    "insert into ol_edges values (?1 || ?2, 'overlay:old', ?2, ?1, ?3, ?4)",
                    &[&id, parent, &run, &THEN],
                );
            }
            self.versions.push(id);
        }
    }

    fn declare(&mut self, db: &Connection) {
        let sql = "insert into declarations values (?1, ?2, 'DLM1', 'confirmed', ?3, ?4, ?5, 0, ?6, ?7)";
        let mut insert = db.prepare(sql).expect(sql);
        let mut tip = Hash32::ZERO;
        for (height, versions) in self.versions.chunks(IN_BLOCK).enumerate() {
            let txs: Vec<Transaction> = versions.iter().map(|id| declaring(id)).collect();
            let coinbase = sha256d(format!("coinbase {height}").as_bytes());
            let txids: Vec<Hash32> = std::iter::once(coinbase).chain(txs.iter().map(Transaction::txid)).collect();
            let merkle_root = merkle_root(&txids).expect("leaves");
            let nonce = u32::try_from(height).expect("few blocks");
            let header = Header { version: 1, prev_hash: tip, merkle_root, time: 1, bits: 0x207f_ffff, nonce };
            tip = header.hash();
            for (at, (id, tx)) in versions.iter().zip(&txs).enumerate() {
                let proof = at.is_multiple_of(2).then(|| json!(envelope(tx, &txids, at + 1, &header)).to_string());
                let block = proof.as_ref().map(|_| tip.to_string());
                let (raw, txid) = (encode_hex(&tx.to_bytes()), tx.txid().to_string());
                insert
                    .execute(params![id, txid, THEN, block, proof.as_ref().map(|_| nonce), raw, proof])
                    .expect("a declaration");
            }
            self.headers.push(header);
        }
    }

    fn trade(&self, db: &Connection) {
        let mut receipt = db.prepare("insert into receipts values (?1, ?2, 2, null, 2000, ?3, ?4, ?5, 0, ?4, ?6, ?7, ?8, 10, null, null, 1000)").expect("SQL");
        let mut revenue =
            db.prepare("insert into revenue_events values (null, ?1, ?2, 2000, 2, ?3, 'pay')").expect("SQL");
        for (number, id) in self.versions.iter().enumerate() {
            let status = ["pending", "paid", "consumed", "expired", "quoted"][number % 5];
            let txid = ["paid", "consumed"].contains(&status).then(|| format!("{:064x}", 7_000_000 + number));
            let outputs = json!([{"scriptHex": "76a914", "satoshis": 2000}]).to_string();
            let (receipt_id, paid) = (format!("rcpt_{number}"), txid.as_ref().map(|_| THEN + 5));
            receipt
                .execute(params![receipt_id, id, status, THEN, THEN + 1_800, txid, paid, outputs])
                .expect("a receipt");
            if paid.is_some() {
                revenue.execute(params![receipt_id, id, THEN + 5]).expect("revenue");
            }
            if number % 4 == 0 {
                db.execute(
                    "insert into prices values (?1, ?2)",
                    params![id, 500 + i64::try_from(number).expect("few")],
                )
                .expect("a price");
            }
        }
        let rule = "insert into price_rules values (null, ?1, ?2, ?3, ?4, ?5, ?5)";
        db.execute(rule, params![self.versions[1], None::<String>, 1, 900, THEN]).expect("a rule");
        db.execute(rule, params![self.versions[1], None::<String>, 10, 800, THEN]).expect("a rule");
        db.execute(rule, params![None::<String>, "pr_2", 1, 700, THEN]).expect("a rule");
        db.execute(rule, params![None::<String>, "pr_4", 5, 600, THEN]).expect("a rule");
    }

    fn govern(&self, db: &Connection) {
        let policy = "insert into policies values (?1, ?2, ?3, ?4, ?5, null)";
        db.execute(policy, params!["pol_open", "Open", 1, r#"{"licenseAllowList":["MIT"],"minConfs":1}"#, THEN])
            .expect("a policy");
        db.execute(policy, params!["pol_off", None::<String>, 0, "{}", THEN]).expect("a policy");
        let advisory = "insert into advisories values (?1, ?2, ?3, ?4, ?5, ?6)";
        db.execute(advisory, params!["adv_1", "BLOCK", "poisoned", THEN, None::<i64>, r#"{"cve":"x"}"#])
            .expect("an advisory");
        db.execute(advisory, params!["adv_2", "WARN", "stale", THEN, THEN + 60, None::<String>]).expect("an advisory");
        let target = "insert into advisory_targets values (?1, ?2, ?3)";
        db.execute(target, params!["adv_1", self.versions[0], "pr_3"]).expect("a target");
        db.execute(target, params!["adv_2", self.versions[1].to_uppercase(), None::<String>]).expect("a target");
        // The same once more: a key of SQLite's may hold NULL.
        db.execute(target, params!["adv_2", self.versions[1], None::<String>]).expect("a target");
        db.execute("insert into ol_dlq values ('d1', '{\"eventTime\":1}', '[]', 3, 1)", []).expect("a dead letter");
        db.execute("insert into agents values ('a1', 'left behind')", []).expect("an agent");
    }

    /// Rows that nobody could take over.
    fn go_wrong(&mut self, db: &Connection) {
        let (first, foreign) = (self.versions[0].clone(), "f".repeat(64));
        let mut bad = |table, sql: &str, values: &[&dyn rusqlite::ToSql], reason| {
            db.execute(sql, values).expect(sql);
            self.faults.push((table, db.last_insert_rowid(), reason));
        };
        bad(
            "producers",
            "insert into producers values ('pr_x', 'No key', null, null, 1, null)",
            &[],
            "identity_key: is missing",
        );
        bad(
            "producers",
            "insert into producers values ('pr_y', 'Bad key', null, '04ab', 'soon', 'xyz')",
            &[],
            "created_at: is no time",
        );
        bad(
            "manifests",
            "insert into manifests values (?1, ?1, null, null, null, null, null, ?2, null, null)",
            &[&foreign, &manifest(0, &[]).to_string()],
            "the manifest's hash is",
        );
        bad(
            "manifests",
            "insert into manifests values ('ab', 'ab', null, null, null, null, null, '{', null, null)",
            &[],
            "not JSON",
        );
        bad(
            "edges",
            "insert into edges (child_version_id, parent_version_id) values (?1, ?2)",
            &[&first, &foreign],
            "no row of this file",
        );
        bad(
            "declarations",
            "insert into declarations values (?1, ?1, 'DLM1', null, 1, null, null, null, null, null)",
            &[&foreign],
            "no manifest of version",
        );
        bad(
            "declarations",
            "insert into declarations values ('x', 'y', 'WHAT', null, 1, null, null, null, '0g', null)",
            &[],
            "raw_tx: must be hex",
        );
        bad("prices", "insert into prices values (?1, 0)", &[&"e".repeat(64)], "satoshis: must be a whole number");
        bad("prices", "insert into prices values (?1, 444)", &[&version_at(db, 1)], "differs in: satoshis");
        bad(
            "price_rules",
            "insert into price_rules values (null, null, 'pr_x', 1, 5, 1, 1)",
            &[],
            "producer pr_x was not taken over",
        );
        bad(
            "price_rules",
            "insert into price_rules values (null, null, null, 1, 5, 1, 1)",
            &[],
            "names neither a version nor a producer",
        );
        bad("policies", "insert into policies values ('pol_bad', 'Bad', 1, '{\"minConf\":1}', 1, 1)", &[], "minConf");
        bad(
            "advisories",
            "insert into advisories values ('adv_bad', 'NOTE', 'x', 10, 5, '{')",
            &[],
            "type: must be BLOCK or WARN",
        );
        bad(
            "advisory_targets",
            "insert into advisory_targets values ('adv_bad', ?1, null)",
            &[&first],
            "no advisory adv_bad",
        );
        bad(
            "receipts",
            "insert into receipts values ('r_bad', ?1, 1, null, 5, 'paid', 1, 2, 0, null, null, null, null, null, null, null, null)",
            &[&first],
            "nothing shows that a receipt that is paid was paid",
        );
        bad(
            "receipts",
            "insert into receipts values ('r_twice', ?1, 1, null, 5, 'paid', 1, 2, 0, null, ?2, null, null, null, null, null, null)",
            &[&first, &format!("{:064x}", 7_000_001)],
            "the database refuses",
        );
        bad(
            "revenue_events",
            "insert into revenue_events values (null, 'r_bad', ?1, 5, 1, 1, 'pay')",
            &[&first],
            "no receipt r_bad",
        );
        bad(
            "revenue_events",
            "insert into revenue_events values (null, 'rcpt_1', ?1, 5, 1, 1, 'adjust')",
            &[&first],
            "nothing here is like adjust",
        );
        bad(
            "ol_events",
            "insert into ol_events values ('ol_x', 'x', 'x', 'x', 'x', 'x', '{\"job\":1}', 'x', 1)",
            &[],
            "eventTime",
        );
        bad(
            "ol_jobs",
            "insert into ol_jobs values ('x', 'overlay:old', 'nobody told', null, 1, 1)",
            &[],
            "no row of this file",
        );
        bad(
            "ol_edges",
            "insert into ol_edges values ('x', 'overlay:old', 'a', 'b', 'x', 1)",
            &[],
            "no row of this file",
        );
    }
}

/// The `at`-th version that was published.
fn version_at(db: &Connection, at: i64) -> String {
    db.query_row("select version_id from manifests order by rowid limit 1 offset ?1", [at], |row| row.get(0))
        .expect("there")
}
