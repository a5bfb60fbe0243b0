//! The header mirror follows its source: every form of it, through reorgs, and not at all when it is broken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use overlay::domain::spv::{Hash32, Header, encode_hex, sha256d};
use overlay::flows::headers::{Outcome, sync};
use serde_json::{Value, json};

use crate::harness::node::until;
use crate::harness::{Setup, TestApp, with};

const RAW: &[u8] = include_bytes!("../../data/spv/headers.bin");

/// Made-up blocks, which JSON sources may tell of: the work of theirs is not looked at.
#[derive(Clone)]
struct Blocks(Vec<(Hash32, Hash32)>);

impl Blocks {
    fn new(count: usize) -> Self {
        Self(Vec::new()).and(count, "main")
    }

    /// The same with more blocks on top, of a branch.
    fn and(mut self, count: usize, branch: &str) -> Self {
        for _ in 0..count {
            let prev = self.0.last().map_or(Hash32::ZERO, |(hash, _)| *hash);
            self.0.push((sha256d(format!("{branch} {} {prev}", self.0.len()).as_bytes()), prev));
        }
        self
    }

    fn first(&self, count: usize) -> Self {
        Self(self.0[..count].to_vec())
    }

    fn json(&self, form: &str) -> Value {
        let block = |(height, (hash, prev)): (usize, &(Hash32, Hash32))| json!({"hash": hash, "prevHash": prev, "merkleRoot": sha256d(hash.as_internal()), "height": height});
        let blocks: Vec<Value> = self.0.iter().enumerate().map(block).collect();
        let (tip, _) = self.0.last().expect("blocks");
        let mut source = json!({"bestHeight": self.0.len() - 1, "tipHash": tip});
        source[form] = match form {
            "headers" => json!(blocks),
            _ => blocks
                .iter()
                .map(|b| (b["hash"].as_str().expect("hash").to_owned(), b.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        source
    }

    fn bytes(&self) -> Vec<u8> {
        self.json("headers").to_string().into_bytes()
    }

    fn hashes(&self) -> Vec<String> {
        self.0.iter().map(|(hash, _)| hash.to_string()).collect()
    }
}

async fn best(app: &TestApp) -> Vec<String> {
    app.rows("select hash from block_headers where on_best_chain order by height").await
}

/// Everything about headers, and what the feed has heard of.
async fn everything(app: &TestApp) -> Vec<String> {
    let mut rows = app.rows("select row_to_json(b)::text from block_headers b order by 1").await;
    rows.extend(app.rows("select count(*)::text from change_log").await);
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_source_is_read() {
    with(Setup::empty(), async |app| {
        let blocks = Blocks::new(30);
        let moved = sync(&app.app, blocks.first(20).json("headers").to_string().as_bytes()).await.expect("synced");
        assert_eq!(moved, Outcome::Moved { added: 20, removed: 0, height: 19 });
        let moved = sync(&app.app, blocks.json("byHash").to_string().as_bytes()).await.expect("synced");
        assert_eq!(moved, Outcome::Moved { added: 10, removed: 0, height: 29 });
        assert_eq!(best(app).await, blocks.hashes());
        let tip = app.query("{ chainTip { hash height unstable } }", Value::Null).await;
        assert_eq!(tip["chainTip"], json!({"hash": blocks.hashes()[29], "height": 29, "unstable": false}));
        // Nothing new: nothing is written, not even a transaction begun.
        let before = everything(app).await;
        let (unchanged, statements) = app.statements(sync(&app.app, &blocks.bytes())).await;
        assert_eq!((unchanged.expect("synced"), statements), (Outcome::Unchanged, 1));
        assert_eq!(sync(&app.app, &blocks.first(25).bytes()).await.expect("synced"), Outcome::Behind);
        assert_eq!(everything(app).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_headers_are_read_with_their_work() {
    with(Setup::empty(), async |app| {
        let first = Header::parse(&RAW[..80]).expect("a header");
        let genesis = i32::from(first.prev_hash != Hash32::ZERO);
        if genesis == 1 {
            assert!(sync(&app.app, RAW).await.expect_err("not anchored").message().contains("not known"));
            app.sql(&format!(
                "insert into block_headers (hash, height, prev_hash, merkle_root, on_best_chain) \
                 values ('{}', 0, '{}', '{}', true)",
                first.prev_hash,
                Hash32::ZERO,
                Hash32::ZERO
            ))
            .await;
        }
        for count in [100, 1_111] {
            sync(&app.app, &RAW[..80 * count]).await.expect("synced");
            let stored = app.rows("select encode(raw, 'hex') from block_headers where raw is not null and on_best_chain order by height").await;
            assert_eq!(stored.concat(), encode_hex(&RAW[..80 * count]));
        }
        let mut worthless = RAW.to_vec();
        worthless[80 * 500 + 40] ^= 1;
        let before = everything(app).await;
        assert_eq!(sync(&app.app, &worthless).await.expect_err("no work").code(), "broken-header-source");
        assert_eq!(everything(app).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_takes_off_what_left_and_nothing_else() {
    with(Setup::seeded(), async |app| {
        // On top of the market's own chain.
        let known = app.rows("select hash || ' ' || prev_hash from block_headers order by height").await;
        let pair = |row: &String| {
            let (hash, prev) = row.split_once(' ').expect("two words");
            (hash.parse().expect("hash"), prev.parse().expect("hash"))
        };
        let market = Blocks(known.iter().map(pair).collect());
        app.sql("insert into bundle_audit (version_id, block_hash, block_height) select version_id, block_hash, block_height from declarations where block_hash is not null").await;
        for depth in [1, 2, 6] {
            let kept = market.0.len() - depth;
            let branch = market.first(kept).and(depth + 1, &format!("branch {depth}"));
            let before = best(app).await.len();
            let moved = sync(&app.app, &branch.bytes()).await.expect("synced");
            assert_eq!(moved, Outcome::Moved { added: depth + 1, removed: (before - kept) as u64, height: u32::try_from(kept + depth).expect("small") });
            assert_eq!(best(app).await, branch.hashes());
            let reorged = app.rows("select version_id from bundle_audit where reorged order by 1").await;
            let gone = app.rows(&format!("select version_id from declarations where block_height >= {kept} order by 1")).await;
            assert_eq!(reorged, gone, "{depth}");
            // And back, one block longer.
            let back = market.clone().and(2, &format!("back {depth}"));
            sync(&app.app, &back.bytes()).await.expect("synced");
            assert_eq!(best(app).await, back.hashes());
            assert_eq!(app.rows("select count(*)::text from bundle_audit where reorged").await, ["0"]);
            sync(&app.app, &market.first(kept).and(depth + 3, &format!("again {depth}")).bytes()).await.expect("synced");
            sync(&app.app, &market.clone().and(4, "end").bytes()).await.expect("synced");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_broken_or_of_another_chain_changes_nothing() {
    with(Setup::empty(), async |app| {
        let blocks = Blocks::new(2_500);
        sync(&app.app, &blocks.bytes()).await.expect("synced");
        // A fork deeper than is looked at at once.
        let forked = blocks.first(40).and(2_600, "deep");
        let before = everything(app).await;
        let other = Blocks(Vec::new()).and(2_600, "other").bytes();
        let mut gap = blocks.clone().and(3, "more").json("headers");
        gap["headers"].as_array_mut().expect("a list").remove(2_400);
        let mut lifted = blocks.clone().and(1, "more").json("headers");
        for block in lifted["headers"].as_array_mut().expect("a list") {
            block["height"] = json!(block["height"].as_u64().expect("a number") + 1);
        }
        lifted["bestHeight"] = json!(2_501);
        for broken in [&b""[..], b"{", b"<html>", &other, gap.to_string().as_bytes(), lifted.to_string().as_bytes()] {
            let error = sync(&app.app, broken).await.expect_err("broken");
            assert_eq!(error.code(), "broken-header-source");
            assert_eq!(everything(app).await, before, "{error}");
        }
        let moved = sync(&app.app, &forked.bytes()).await.expect("synced");
        assert_eq!(moved, Outcome::Moved { added: 2_600, removed: 2_460, height: 2_639 });
        assert_eq!(best(app).await, forked.hashes());
    })
    .await;
}

/// A file, which is followed: when it breaks, answers say so, and when it is mended, no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_followed_and_its_failures_are_told() {
    let path: PathBuf = std::env::temp_dir().join(format!("overlay-headers-{}", uuid::Uuid::new_v4()));
    let write = |bytes: &[u8]| {
        // As a whole, as who writes such a file does.
        let new = path.with_extension("new");
        std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &path)).expect("a file");
    };
    let blocks = Blocks::new(50);
    write(&blocks.first(10).bytes());
    let setup = Setup::empty().with("HEADERS_FILE", path.to_str().expect("text")).with("HEADERS_POLL_MS", "100");
    with(setup, async |app| {
        let tip = async || app.query("{ chainTip { height unstable } }", Value::Null).await["chainTip"].clone();
        until("the first ten", async || tip().await == json!({"height": 9, "unstable": false})).await;
        write(&blocks.first(20).bytes());
        until("ten more", async || tip().await["height"] == json!(19)).await;
        write(b"{\"bestHeight\": 1");
        until("it is told that it fails", async || tip().await == json!({"height": 19, "unstable": true})).await;
        let ready = app.json(&format!("/ready?versionId={}", "ab".repeat(32))).await;
        assert_eq!(ready["unstable"], json!(true));
        let query = "query($id: Hex32!) { readiness(versionId: $id) { ready unstable } }";
        let told = app.query(query, json!({"id": "ab".repeat(32)})).await;
        assert_eq!(told["readiness"], json!({"ready": false, "unstable": true}));
        write(&blocks.bytes());
        until("it works again", async || tip().await == json!({"height": 49, "unstable": false})).await;
        assert!(app.json(&format!("/ready?versionId={}", "ab".repeat(32))).await.get("unstable").is_none());
        assert_eq!(best(app).await, blocks.hashes());
    })
    .await;
    std::fs::remove_file(path).expect("ours");
}

/// A server that tells of its headers, and is asked for what is new alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_followed_by_its_entity_tag() {
    use axum::http::{HeaderMap, StatusCode, header};
    let (full, known) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::new(AtomicUsize::new(10));
    let blocks = Blocks::new(50);
    let handler = {
        let (full, known, count, blocks) = (full.clone(), known.clone(), count.clone(), blocks.clone());
        move |headers: HeaderMap| async move {
            let count = count.load(Ordering::SeqCst);
            let etag = format!("\"{count}\"");
            if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes()) {
                known.fetch_add(1, Ordering::SeqCst);
                return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)], Vec::new());
            }
            full.fetch_add(1, Ordering::SeqCst);
            (StatusCode::OK, [(header::ETAG, etag)], blocks.first(count).bytes())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://user:secret@{}/headers", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().route("/headers", axum::routing::get(handler))).await
    });
    with(Setup::empty().with("HEADERS_SOURCE", url).with("HEADERS_POLL_MS", "100"), async |app| {
        until("ten", async || best(app).await.len() == 10).await;
        until("asked again", async || known.load(Ordering::SeqCst) > 2).await;
        assert_eq!(full.load(Ordering::SeqCst), 1);
        count.store(50, Ordering::SeqCst);
        until("fifty", async || best(app).await == blocks.hashes()).await;
        assert_eq!(full.load(Ordering::SeqCst), 2);
        server.abort();
        until("it is told that it fails", async || {
            app.query("{ chainTip { unstable } }", Value::Null).await["chainTip"]["unstable"] == json!(true)
        })
        .await;
    })
    .await;
}
