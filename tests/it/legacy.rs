//! Taking over an old installation: every row is taken over, was known, or is refused with its reason; an import that is done
//! again, or was cut off anywhere, leaves what one clean run leaves.

mod old;

use std::path::Path;
use std::process::{Command, Stdio};

use old::{Old, THEN};
use overlay::db::Db;
use overlay::error::{Error, Result};
use overlay::flows::import::Catalogue;
use overlay::flows::import::legacy::{self, Progress, Report, Row, Source, Sqlite, Taken, Way};
use serde_json::{Value, json};

use crate::harness::chain::Chain;
use crate::harness::process::binary;
use crate::harness::{Setup, TestApp, folder, patient, with};

struct Silent;

impl Progress for Silent {
    fn at(&mut self, _taken: &Taken) {}
}

/// Imports; answers what is told, and the rejects.
async fn import(app: &TestApp, source: &mut (dyn Source + Send), way: Way) -> (Result<Report>, Vec<Value>) {
    let db = Db::connect(&patient(&app.database_url)).await.expect("connect");
    let mut rejects = Vec::new();
    let catalogue = Catalogue { db: &db, namespace: "overlay:dev" };
    let report = legacy::run(catalogue, source, way, &mut rejects, &mut Silent).await;
    db.close().await;
    let rejects = String::from_utf8(rejects).expect("text");
    (report, rejects.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

fn opened(old: &Old) -> Sqlite {
    Sqlite::open(&old.file).expect("opens")
}

/// All that an import writes, but for when it was written and how it was numbered.
async fn all_of(app: &TestApp) -> Vec<String> {
    const WRITTEN: [(&str, &str); 18] = [
        ("producers", ""),
        ("assets", "updated_at"),
        ("asset_parents", ""),
        ("declarations", ""),
        ("price_rules", "created_at,updated_at"),
        ("policies", ""),
        ("advisories", ""),
        ("advisory_targets", "target_id"),
        ("receipts", ""),
        ("revenue_events", "event_id"),
        ("lineage_event_audit", "created_at"),
        ("lineage_dead_letters", "created_at,updated_at,letter_id"),
        ("lineage_jobs", "created_at,updated_at"),
        ("lineage_datasets", "created_at,updated_at"),
        ("lineage_runs", "created_at,updated_at"),
        ("lineage_edges", "created_at,edge_id"),
        ("lineage_io", "created_at"),
        ("import_progress", "updated_at"),
    ];
    let mut all = Vec::new();
    for (table, volatile) in WRITTEN {
        let sql =
            format!("select '{table} ' || (to_jsonb(t) - '{{{volatile}}}'::text[])::text from {table} t order by 1");
        all.extend(app.rows(&sql).await);
    }
    all
}

fn sums(report: &Report) -> (u64, u64, u64, u64) {
    let sum = |of: fn(&Taken) -> u64| report.taken.iter().map(of).sum();
    (sum(|t| t.rows), sum(|t| t.new), sum(|t| t.known), sum(|t| t.refused))
}

/// Versions of the market that is imported: `LEGACY_ROWS` rows of all tables, or enough for several batches.
fn size() -> usize {
    std::env::var("LEGACY_ROWS").map_or(1_200, |rows| rows.parse::<usize>().expect("a number") / 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_accounted_for_and_serves() {
    with(Setup::empty(), async |app| {
        let old = Old::make(&folder(), 60);
        let (dry, dry_rejects) = import(app, &mut opened(&old), Way::Dry).await;
        assert_eq!(app.rows("select version_id from assets").await, Vec::<String>::new(), "a dry run writes nothing");
        let (report, rejects) = import(app, &mut opened(&old), Way::Real).await;
        let (report, dry) = (report.expect("imports"), dry.expect("is read"));
        let (rows, new, known, refused) = sums(&report);
        assert_eq!(rows, new + known + refused, "{report:?}");
        assert_eq!(report.left, [("agents".to_owned(), 1)]);
        assert_eq!((refused, report.remarks), (old.faults.len() as u64, 0), "{rejects:#?}");
        for (table, row, reason) in &old.faults {
            let of = |reject: &&Value| reject["table"] == *table && reject["row"] == *row;
            let reject =
                rejects.iter().find(of).unwrap_or_else(|| panic!("{table} {row} is not refused: {rejects:#?}"));
            assert!(reject["reasons"].to_string().contains(reason), "{table} {row}: {reject}, not {reason}");
        }
        // What only the database sees, and what follows from what was loaded, a dry run cannot tell.
        let seen: Vec<&Value> = rejects
            .iter()
            .filter(|r| {
                let reasons = r["reasons"].to_string();
                !["the database refuses", "no row of this file", "differs in"]
                    .iter()
                    .any(|unseen| reasons.contains(unseen))
            })
            .collect();
        assert_eq!(dry_rejects.iter().collect::<Vec<_>>(), seen, "{dry:?}");
        serves(app, &old).await;
    })
    .await;
}

/// What was taken over is what it was.
async fn serves(app: &TestApp, old: &Old) {
    let mut chain = Chain::of(app).await;
    for header in &old.headers {
        chain.put(app, header).await;
    }
    app.caught_up().await;
    let version = &old.versions[6];
    let bundle = app.json(&format!("/bundle?versionId={version}&depth=0")).await;
    assert_eq!(
        bundle["confirmations"].as_u64().or(bundle["proofs"][0]["envelope"]["confirmations"].as_u64()),
        Some(4),
        "{bundle}"
    );
    let query = "query($id: Hex32!) { asset(versionId: $id) { producer { producerId name } one: price { unitPrice } \
        ten: price(quantity: 10) { unitPrice } } }";
    let of = async |at: usize| app.query(query, json!({"id": old.versions[at]})).await["asset"].take();
    let price = |one: &str, ten: &str| json!({"one": {"unitPrice": one}, "ten": {"unitPrice": ten}});
    let with = |mut price: Value, producer: Value| {
        price["producer"] = producer;
        price
    };
    let producer = |n: u32| json!({"producerId": format!("pr_{n}"), "name": format!("Old producer {n}")});
    assert_eq!(of(8).await, with(price("508", "508"), producer(3)), "the price of a version");
    assert_eq!(of(7).await, with(price("700", "700"), producer(2)), "that of a producer");
    assert_eq!(of(1).await, with(price("900", "800"), producer(1)), "that of a quantity");
    assert_eq!(of(9).await, with(price("1234", "600"), producer(4)), "none, and that of a quantity");
    let row = |sql: &'static str| app.rows(sql);
    assert_eq!(row("select identity_key from producers where producer_id = 'pr_4'").await, [format!("02{:064x}", 5)]);
    assert_eq!(
        row("select extract(epoch from created_at)::bigint::text from receipts group by 1").await,
        [THEN.to_string()]
    );
    assert_eq!(
        row("select status || ' ' || count(*) from receipts group by status order by 1").await,
        ["consumed 12", "expired 12", "paid 12", "pending 24"]
    );
    assert_eq!(
        row("select type || ' ' || amount_sat || ' ' || (details ->> 'imported') from revenue_events order by event_id limit 1").await,
        ["submitted 2000 {\"type\": \"pay\", \"eventId\": 1, \"quantity\": 2}"]
    );
    assert_eq!(
        row("select coalesce(version_id, producer_id) || ' ' || advisory_id from advisory_targets order by target_id")
            .await,
        [format!("{} adv_1", old.versions[0]), "pr_3 adv_1".to_owned(), format!("{} adv_2", old.versions[1])]
    );
    assert_eq!(
        row("select satoshis::text from price_rules r join assets a using (version_id) where r.tier_from = 1 order by satoshis limit 2").await,
        ["500", "504"],
        "the price of a version is its rule from one unit up"
    );
    assert_eq!(row("select policy_id || enabled from policies order by 1").await, ["pol_offfalse", "pol_opentrue"]);
    assert_eq!(row("select attempts::text from lineage_dead_letters").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_changes_nothing() {
    with(Setup::empty(), async |app| {
        let old = Old::make(&folder(), 100);
        let (first, _) = import(app, &mut opened(&old), Way::Real).await;
        let (first, before) = (first.expect("imports"), all_of(app).await);
        let (named, rejects) = import(app, &mut opened(&old), Way::Real).await;
        assert_eq!((sums(&named.expect("imports")), rejects.len()), (sums(&first), 0), "it is known by its name");
        let db = Db::connect(&patient(&app.database_url)).await.expect("connect");
        legacy::forget(&db, &opened(&old)).await.expect("forgets");
        db.close().await;
        let (anew, _) = import(app, &mut opened(&old), Way::Real).await;
        let (rows, new, known, refused) = sums(&anew.expect("imports"));
        assert_eq!((rows, new, refused), (known + refused, 0, sums(&first).3), "it is known by its rows");
        let without =
            |all: &[String]| all.iter().filter(|row| !row.starts_with("import_")).cloned().collect::<Vec<_>>();
        assert_eq!(without(&all_of(app).await), without(&before));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_is_not_changed_and_what_differs_is_told() {
    with(Setup::empty(), async |app| {
        let old = Old::make(&folder(), 20);
        import(app, &mut opened(&old), Way::Real).await.0.expect("imports");
        app.sql("update receipts set status = 'expired' where receipt_id = 'rcpt_0'").await;
        // The old server went on meanwhile.
        let db = rusqlite::Connection::open(&old.file).expect("opens");
        db.execute(
            "update receipts set status = 'paid', payment_txid = ?1 where receipt_id = 'rcpt_0'",
            ["e".repeat(64)],
        )
        .expect("paid");
        drop(db);
        let (report, rejects) = import(app, &mut opened(&old), Way::Real).await;
        report.expect("imports");
        let told = rejects.iter().find(|r| r["table"] == "receipts" && r["reasons"].to_string().contains("differs in"));
        assert!(told.expect("is told")["reasons"][0].as_str().expect("a text").contains("status"), "{rejects:#?}");
        assert_eq!(app.rows("select status from receipts where receipt_id = 'rcpt_0'").await, ["expired"]);
    })
    .await;
}

/// A source that ends in the middle.
struct CutOff {
    source: Sqlite,
    left: usize,
}

impl Source for CutOff {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn tables(&mut self) -> Result<Vec<(String, u64)>> {
        self.source.tables()
    }

    fn rows(&mut self, table: &str, after: Option<i64>, most: usize, bytes: usize) -> Result<Vec<Row>> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::invalid("cut off"))?;
        // Small batches: there is much to cut between.
        self.source.rows(table, after, most.min(40), bytes)
    }

    fn row_at(&mut self, table: &str, count: u64) -> Result<Option<i64>> {
        self.source.row_at(table, count)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_cut_off_anywhere_ends_as_a_clean_one() {
    let old = Old::make(&folder(), 100);
    let mut clean = (Vec::new(), Vec::new());
    with(Setup::empty(), async |app| {
        let source = &mut CutOff { source: opened(&old), left: usize::MAX };
        let (report, rejects) = import(app, source, Way::Real).await;
        report.expect("imports");
        clean = (all_of(app).await, rejects);
    })
    .await;
    with(Setup::empty(), async |app| {
        let (mut cuts, mut told) = (0, Vec::new());
        // Each run reads the producers and manifests first, and then comes two or three batches further.
        loop {
            let source = &mut CutOff { source: opened(&old), left: 9 };
            let (report, rejects) = import(app, source, Way::Real).await;
            told.extend(rejects);
            if report.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 5, "it was cut off {cuts} times only");
        assert_eq!(all_of(app).await, clean.0);
        told.sort_by_key(ToString::to_string);
        told.dedup();
        clean.1.sort_by_key(ToString::to_string);
        assert_eq!(told, clean.1, "no refusal is lost");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_and_started_again_ends_as_a_clean_one() {
    let old = Old::make(&folder(), size());
    let mut clean = Vec::new();
    let [of_clean, of_killed] = ["clean", "killed"].map(|name| old.file.with_file_name(name));
    let begin = |app: &TestApp, rejects: &Path| {
        let mut command = Command::new(binary());
        command
            .args(["import", "sqlite"])
            .arg(&old.file)
            .arg("--rejects")
            .arg(rejects)
            .current_dir(old.file.parent().expect("a folder"))
            .env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("PG_URL", &app.database_url);
        command
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    with(Setup::empty(), async |app| {
        let output = begin(app, &of_clean).output().expect("runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        println!("{told}");
        clean = all_of(app).await;
    })
    .await;
    with(Setup::empty(), async |app| {
        let mut child = begin(app, &of_killed).spawn().expect("starts");
        // Half way: some manifests are noted, and others are not.
        let noted = "select lines_done::text from import_progress where source like '%:manifests'";
        while app.rows(noted).await.is_empty() {
            assert!(child.try_wait().expect("is ours").is_none(), "it ended before it was killed");
        }
        child.kill().and_then(|()| child.wait()).expect("is killed");
        let half = app.rows("select count(*)::text from import_progress where finished").await;
        let again = begin(app, &of_killed).output().expect("runs");
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        assert_ne!(
            half,
            app.rows("select count(*)::text from import_progress where finished").await,
            "it was killed too late"
        );
        assert_eq!(all_of(app).await, clean);
        let told = lines(&of_clean);
        assert!(told.iter().any(|line| line.contains("\"manifests\"")), "{told:?}");
        assert_eq!(lines(&of_killed), told, "each refusal is told once");
        // Killed after the rejects of a batch were written, in the midst of the next, and before the note.
        app.sql(
            "update import_progress set lines_done = 0, rows_in = 0, rejected = 0, finished = false \
             where source like '%:manifests'",
        )
        .await;
        let half = std::fs::read_to_string(&of_killed).expect("reads") + &told[0][..told[0].len() / 2];
        std::fs::write(&of_killed, half).expect("writes");
        assert!(begin(app, &of_killed).output().expect("runs").status.success());
        assert_eq!(lines(&of_killed), told, "each refusal is told once, and whole");
    })
    .await;
}

/// A file's lines in order.
fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("is there");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_installation_is_told() {
    let file = folder().join("x.db");
    std::fs::write(&file, "not a database, but long enough to be looked at as one").expect("writes");
    assert!(Sqlite::open(&file).err().expect("is none").message().contains("SQLite"));
    assert!(Sqlite::open(&file.with_extension("none")).is_err());
    with(Setup::empty(), async |app| {
        let other = folder().join("other.db");
        rusqlite::Connection::open(&other).expect("opens").execute_batch("create table t (x)").expect("SQL");
        let (report, _) = import(app, &mut Sqlite::open(&other).expect("opens"), Way::Real).await;
        assert!(report.expect_err("is none").message().contains("no table `manifests`"));
    })
    .await;
}
