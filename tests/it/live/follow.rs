//! What is told, in which order, and how one goes on.

use serde_json::{Value, json};

use super::{ASSETS, asset, now, rename, versions};
use crate::harness::socket::Socket;
use crate::harness::{Setup, TestApp, with, with_database};

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_once_and_in_order_also_across_a_restart() {
    with_database(async |database| {
        let first = TestApp::start(&Setup::seeded(), database).await;
        let ids = versions(&first, 3).await;
        let [a, b, c] = [&*ids[0], &*ids[1], &*ids[2]];
        let since = now(&first).await;
        let mut socket = Socket::open(&first.url).await;
        socket.begin("1", ASSETS, json!({"since": since})).await;
        socket.settled().await;
        rename(&first, &[a, b, a], "one").await;
        let mut tokens = Vec::new();
        for wanted in [a, b, a] {
            let (id, name, token) = asset(&mut socket, "1").await;
            assert_eq!((&*id, &*name), (wanted, "one"));
            tokens.push(token);
        }
        // Two things of one transaction, each told once however often it was touched, in the order of their names.
        first
            .sql(&format!(
                "begin; update assets set name = 'two' where version_id = '{c}'; \
                 update assets set name = 'two' where version_id = '{b}'; \
                 update assets set name = 'three' where version_id = '{b}'; commit"
            ))
            .await;
        let (id, name, between) = asset(&mut socket, "1").await;
        assert_eq!((&*id, &*name), (b, "three"));
        assert_eq!(asset(&mut socket, "1").await.0, c);
        // The server is replaced while somebody writes.
        first.stop().await;
        let second = TestApp::start(&Setup::empty(), database).await;
        rename(&second, &[a], "four").await;
        for (since, rest) in [(&since, "abab"), (&tokens[0], "bab"), (&tokens[2], "b"), (&between, "")] {
            let mut socket = Socket::open(&second.url).await;
            socket.begin("x", ASSETS, json!({"since": since})).await;
            let mut told = String::new();
            while told.len() < rest.len() + 2 {
                let id = asset(&mut socket, "x").await.0;
                told.push([(a, 'a'), (b, 'b'), (c, 'c')].iter().find(|(own, _)| *own == id).expect("one of them").1);
            }
            assert_eq!(told, format!("{rest}ca"), "since {since}");
        }
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_is_told_late_and_never_left_out() {
    with(Setup::seeded(), async |app| {
        let ids = versions(app, 2).await;
        let mut socket = Socket::open(&app.url).await;
        socket.begin("1", ASSETS, json!({"since": now(app).await})).await;
        // A transaction that has its number already, and takes its time.
        let slow = crate::harness::session(&app.database_url).await;
        let sql = |sql: String| {
            let slow = &slow;
            async move { sea_orm::ConnectionTrait::execute_unprepared(slow, &sql).await.expect("runs") }
        };
        sql(format!("begin; update assets set name = 'slow' where version_id = '{}'", ids[0])).await;
        rename(app, &[&ids[1]], "quick").await;
        app.caught_up().await;
        socket.settled().await;
        sql("commit".into()).await;
        let told = [asset(&mut socket, "1").await, asset(&mut socket, "1").await];
        assert_eq!([&*told[0].1, &*told[1].1], ["slow", "quick"]);
        slow.get_postgres_connection_pool().close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_and_nonsense_refused() {
    with(Setup::seeded(), async |app| {
        let ids = versions(app, 1).await;
        let token = now(app).await;
        let (epoch, xid) = token.split_once('.').expect("two parts");
        let xid: u64 = xid.split('.').next().expect("a number").parse().expect("digits");
        for (n, (since, gap)) in [
            (format!("{epoch}.3.0"), "TOO_FAR_BACK"),
            (format!("{}.{xid}.0", "0".repeat(32)), "NEW_HISTORY"),
            (format!("{}.{}.0", "f".repeat(32), u64::MAX), "NEW_HISTORY"),
        ]
        .into_iter()
        .enumerate()
        {
            app.sql(&format!("update assets set name = 'n{n}' where version_id = '{}'", ids[0])).await;
            app.settled().await;
            // Its own: events of what is completed may be on the way.
            let mut socket = Socket::open(&app.url).await;
            socket.begin("1", ASSETS, json!({"since": since, "ids": ids})).await;
            let told = socket.event("1").await["assetChanged"].take();
            assert_eq!((&told["gap"], &told["asset"], &told["versionId"]), (&json!(gap), &Value::Null, &Value::Null));
            // What is remembered is told nevertheless.
            let mut other = Socket::open(&app.url).await;
            other.begin("o", ASSETS, json!({"since": told["token"], "ids": ids})).await;
            let mut name = String::new();
            while name != format!("n{n}") {
                name = asset(&mut other, "o").await.1;
            }
        }
        let mut socket = Socket::open(&app.url).await;
        for (since, message) in [
            (format!("{epoch}.{}.0", xid + 1_000_000), "has not happened yet"),
            (format!("{epoch}.{xid}"), "must be the `token` of an event"),
            ("yesterday".into(), "must be the `token` of an event"),
            (String::new(), "must be the `token` of an event"),
        ] {
            socket.begin("1", ASSETS, json!({"since": since})).await;
            let told = socket.hear().await;
            assert_eq!((&told["type"], &told["id"]), (&json!("error"), &json!("1")));
            assert_eq!(told["payload"][0]["extensions"]["code"], "BAD_REQUEST");
            let said = told["payload"][0]["message"].as_str().expect("a message");
            assert!(said.contains(message), "{since}: {said}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_of_one_version_is_not_told_of_others_and_bulk_is_said_to_be_such() {
    with(Setup::seeded(), async |app| {
        let ids = versions(app, 3).await;
        let since = now(app).await;
        let mut socket = Socket::open(&app.url).await;
        socket.begin("1", ASSETS, json!({"since": since, "ids": [ids[1]]})).await;
        socket.settled().await;
        rename(app, &[&ids[0], &ids[2], &ids[1], &ids[0]], "it").await;
        assert_eq!(asset(&mut socket, "1").await.0, ids[1]);
        // More rows than the feed names.
        app.sql(
            "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) \
             select encode(sha256(n::text::bytea), 'hex'), 'bulk', (select min(producer_id) from producers), 'bulk', \
             repeat('a', 64), encode(sha256(n::text::bytea), 'hex'), '{}' from generate_series(1, 1500) n",
        )
        .await;
        let told = socket.event("1").await["assetChanged"].take();
        assert_eq!((&told["gap"], &told["versionId"]), (&json!("BULK"), &Value::Null));
        rename(app, &[&ids[1]], "after").await;
        assert_eq!(asset(&mut socket, "1").await.1, "after");
        // A version that goes.
        let gone = app.rows("select version_id from assets where name = 'bulk' limit 1").await.remove(0);
        socket.begin("2", ASSETS, json!({"since": now(app).await, "ids": [gone]})).await;
        app.sql(&format!("delete from assets where version_id = '{gone}'")).await;
        let told = socket.event("2").await["assetChanged"].take();
        assert_eq!((&told["versionId"], &told["asset"]), (&json!(gone), &Value::Null));
    })
    .await;
}
