//! What is in Redis that should not be: giants are refused unread, what is forgotten is deleted in order.

use overlay::cache::{Key, Ledger};

use super::lock::{Bundle, sized};
use super::redis::{filled, keys, names, session};
use crate::harness::node::until;
use crate::harness::{Setup, TestApp, private_redis, with_database};

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_is_a_miss_and_is_overwritten() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::seeded().redis(server.url()).with("CACHE_MEMORY_MB", "0");
        let app = TestApp::start(&setup, database).await;
        app.settled().await;
        let shown = names(&app).await;
        let mut session = session(server.url()).await;
        let found = filled(&mut session, 23).await;
        // One that is shown: the page's statement brings one row more, which nobody reads again.
        let id = &app.rows("select version_id from assets order by updated_at desc, version_id limit 1").await[0];
        let asset = found.iter().find(|k| **k == format!("cache:asset:{id}")).expect("the asset");
        let whole: Vec<u8> = redis::cmd("GET").arg(asset).query_async(&mut session).await.expect("bytes");
        session.set_response_timeout(std::time::Duration::from_secs(20));
        // A lie that would be believed, but for its size: JSON may end in any number of spaces.
        let text = String::from_utf8(whole).expect("text");
        let (head, data) = text.split_once('\n').expect("two lines");
        let giant = format!("{data}{}", " ".repeat(50 << 20)).replace("\"name\":\"", "\"name\":\"a lie about ");
        let head = head.replace(&format!("\"bytes\":{}", data.len()), &format!("\"bytes\":{}", giant.len()));
        let () =
            redis::cmd("SET").arg(asset).arg(format!("{head}\n{giant}")).query_async(&mut session).await.expect("set");
        assert_eq!(names(&app).await, shown);
        until("it is overwritten", async || {
            assert_eq!(names(&app).await, shown);
            redis::cmd("STRLEN").arg(asset).query_async::<usize>(&mut session.clone()).await.expect("answers") < 1 << 20
        })
        .await;
        app.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_deleted_after_what_was_written_before() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let app = TestApp::start(&Setup::seeded().redis(server.url()), database).await;
        app.settled().await;
        let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let key: std::sync::Arc<str> = format!("cache:asset:{version}").into();
        // Its write is in the queue, or done; the delete comes after it either way.
        app.get(&format!("/listings/{version}")).header("cookie", "a=b").send().await.expect("answer");
        app.app.cache.forget([key.clone()]);
        let mark = app.rows("select version_id from assets order by 1 desc limit 1").await.remove(0);
        app.get(&format!("/listings/{mark}")).header("cookie", "a=b").send().await.expect("answer");
        let mark = format!("cache:asset:{mark}");
        until("later writes are done", async || keys(&mut session(server.url()).await).await.contains(&mark)).await;
        assert!(!keys(&mut session(server.url()).await).await.contains(&key.to_string()));
        app.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}

/// What no process would read back is not written: it would only take room.
#[tokio::test(flavor = "multi_thread")]
async fn a_giant_of_our_own_is_served_and_not_written() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let app = TestApp::start(&Setup::empty().redis(server.url()), database).await;
        app.settled().await;
        for (key, length) in [("cache:giant", 9 << 20), ("cache:small", 10)] {
            let load = move || async move { Ok(sized(length)) };
            let found = app.app.cache.get(&Ledger::default(), Key::<Bundle>::new(key), load).await;
            assert!(found.expect("an answer").is_some());
        }
        until("what is small is written", async || {
            keys(&mut session(server.url()).await).await.contains(&"cache:small".to_owned())
        })
        .await;
        assert_eq!(keys(&mut session(server.url()).await).await, ["cache:small"]);
        app.stop().await;
    })
    .await;
    server.stop().await.expect("stops");
}
