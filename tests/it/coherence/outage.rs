//! PostgreSQL goes away: what is known is served and marked, what must be fresh is refused, and its return is noticed.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};

use super::ASSET;
use crate::harness::{Mode, Proxy, Setup, TestApp, refused, until_held, with_database};

/// The demo market, by a server that takes a feed for too old soon.
fn impatient() -> Setup {
    Setup::seeded().with("MAX_STALENESS_MS", "500")
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_go_on_marked_while_postgresql_is_away() {
    for mode in [Mode::Cut, Mode::BlackHole] {
        with_database(async |database| {
            let seeded = TestApp::start(&Setup::seeded(), database).await;
            let (app, proxy) = TestApp::behind_proxy(&impatient(), database).await;
            let id = seeded.rows("select min(version_id) from assets").await.remove(0);
            let known = app.query(ASSET, json!({"id": id})).await;
            let listing = app.json("/listings?limit=3").await;
            // Answers that are never kept whole, and errors, are made of kept values all the same.
            let others = [
                (format!("/ready?versionId={id}"), 200),
                (format!("/price?versionId={id}"), 200),
                (format!("/listings/{}", "1".repeat(64)), 404),
            ];
            for (path, status) in &others {
                let answer = app.get(path).send().await.expect("answer");
                assert_eq!((answer.status().as_u16(), answer.headers().get("warning")), (*status, None), "{path}");
            }
            proxy.set(mode);
            while app.app.cache.clock().is_trustworthy() {
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                let begun = Instant::now();
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                assert_eq!(answer.status(), StatusCode::OK);
                assert!(answer.headers()["warning"].to_str().expect("text").starts_with("110 "));
                assert_eq!(answer.headers()["x-cache"], "stale");
                assert_eq!(answer.headers()["cache-control"], "no-cache");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!((&body["data"], &body["extensions"]["stale"]), (&known, &json!(true)));
                assert!(begun.elapsed() < Duration::from_secs(5), "a known answer does not wait for the database");
            }
            let answer = app.get("/listings?limit=3").send().await.expect("answer");
            assert!(answer.headers().contains_key("warning"));
            assert_eq!(answer.json::<Value>().await.expect("JSON"), listing);
            for (path, status) in &others {
                let answer = app.get(path).send().await.expect("answer");
                assert_eq!(answer.status().as_u16(), *status, "{path}");
                assert!(
                    answer.headers().get("warning").is_some_and(|told| told.as_bytes().starts_with(b"110 ")),
                    "{path}"
                );
                assert_eq!(answer.headers()["x-cache"], "stale", "{path}");
            }
            for consistency in ["strong", &format!("{}.1", "0".repeat(32))] {
                let answer = app.post(ASSET, json!({"id": id})).header("overlay-consistency", consistency);
                let answer = answer.send().await.expect("answer");
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{consistency}");
                assert!(answer.headers().contains_key("retry-after"));
            }
            // Meanwhile the world goes on, and the server finds out as soon as it can.
            seeded.sql(&format!("update assets set name = 'meanwhile' where version_id = '{id}'")).await;
            proxy.set(Mode::Open);
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                let is_marked = answer.headers().contains_key("warning");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!(body["data"]["asset"]["name"] == "meanwhile", !is_marked, "{body}");
                if !is_marked {
                    break;
                }
                assert!(Instant::now() < deadline, "the return is not noticed");
            }
            app.stop().await;
            seeded.stop().await;
        })
        .await;
    }
}

/// What a balancer without a server answers is no fault of the request's: whoever asks is to come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_has_no_server_is_postgresql_away() {
    with_database(async |database| {
        let (proxy, url) = Proxy::before_postgres(&database.url).await;
        // As by default: what is said first is whether to encrypt.
        let asking = url.replace("sslmode=disable", "sslmode=prefer");
        assert_ne!(asking, url);
        let setup = impatient().with("PG_URL", asking);
        let app = TestApp::start(&setup, database).await;
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        app.settled().await;
        app.query(ASSET, json!({"id": id})).await;
        let known = format!("/price?versionId={id}");
        app.json(&known).await;
        proxy.set(Mode::HangUp);
        let mut rounds = 0;
        // While the feed is fresh, and when it no longer is.
        while app.app.cache.clock().is_trustworthy() || rounds < 20 {
            rounds += 1;
            let path = format!("/listings/{rounds:064}");
            refused(app.get(&path).send().await.expect("answer"), StatusCode::SERVICE_UNAVAILABLE).await;
            let variables = json!({"id": format!("{rounds:064}")});
            let answer = app.post("query($id: Hex32!) { asset(versionId: $id) { mimeType } }", variables);
            let answer = answer.send().await.expect("answer");
            assert_eq!(answer.headers()["retry-after"], "1");
            assert!(answer.text().await.expect("text").contains("UNAVAILABLE"));
            assert_eq!(app.get(&known).send().await.expect("answer").status(), StatusCode::OK);
        }
        proxy.set(Mode::Open);
        app.stop().await;
    })
    .await;
}

/// The poll that a strong read waits for may be held up until it vouches for nothing: the read is then not served as one of an
/// outage that is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_that_outlives_an_outage_is_fresh() {
    with_database(async |database| {
        let seeded = TestApp::start(&Setup::seeded(), database).await;
        let id = seeded.rows("select min(version_id) from assets").await.remove(0);
        let (app, proxy) = TestApp::behind_proxy(&impatient(), database).await;
        let mut fresh = 0;
        for round in 0..30 {
            app.settled().await;
            app.query(ASSET, json!({"id": id})).await;
            proxy.set(Mode::BlackHole);
            // Every other time it finds in the cache what still holds.
            let name = format!("round {}", round / 2);
            seeded
                .sql(&format!("update assets set name = '{name}' where version_id = '{id}' and name <> '{name}'"))
                .await;
            let strong = app.post(ASSET, json!({"id": id})).header("overlay-consistency", "strong").send();
            let ending = async {
                // Somebody finds out that PostgreSQL does not answer.
                let begun = Instant::now();
                while !is_marked(&app.post(ASSET, json!({"id": id})).send().await.expect("answer")) {
                    assert!(begun.elapsed() < Duration::from_secs(30), "nobody finds out");
                }
                proxy.set(Mode::Open);
            };
            let (answer, ()) = tokio::join!(strong, ending);
            let answer = answer.expect("answer");
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                // The machine was so busy that the outage outlived the poll.
                continue;
            }
            assert!(!is_marked(&answer), "{round}: {:?}", answer.headers());
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(body["data"]["asset"]["name"], name);
            fresh += 1;
            if fresh == 6 {
                break;
            }
        }
        assert!(fresh >= 2, "only {fresh} reads outlived their outage");
        app.stop().await;
        seeded.stop().await;
    })
    .await;
}

/// The public routes' way to a receipt.
async fn pay(app: &TestApp, id: &str) -> Response {
    app.http.post(format!("{}/pay", app.url)).json(&json!({"versionId": id})).send().await.expect("answer")
}

/// Who waits for a PostgreSQL that has stopped answering is told so, long before the request's own time is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_postgresql_freezes_is_given_up() {
    with_database(async |database| {
        let (app, proxy) = TestApp::behind_proxy(&impatient().with("DEV_IDENTITY", "true"), database).await;
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        for round in 0..3 {
            app.settled().await;
            // Connections that were just used are used again without being asked.
            let sold = pay(&app, &id).await;
            assert!(sold.status().is_success(), "{}", sold.text().await.expect("text"));
            let sold = app.rows("select count(*)::text from receipts").await;
            proxy.set(Mode::BlackHole);
            let search = format!("/listings/search?q=frozen{round}");
            let (read, write) = tokio::join!(app.get(&search).send(), pay(&app, &id));
            for answer in [read.expect("answer"), write] {
                assert_eq!(answer.headers().get("retry-after").map(|after| after.as_bytes()), Some(&b"1"[..]));
                assert_eq!(refused(answer, StatusCode::SERVICE_UNAVAILABLE).await.0, "unavailable");
            }
            proxy.set(Mode::Open);
            app.settled().await;
            assert_eq!(app.rows("select count(*)::text from receipts").await, sold, "nothing was changed");
        }
        app.stop().await;
    })
    .await;
}

/// What is being committed may happen: it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_under_way_when_postgresql_freezes_is_waited_for() {
    with_database(async |database| {
        let (app, proxy) = TestApp::behind_proxy(&impatient().with("DEV_IDENTITY", "true"), database).await;
        let id = app.rows("select min(version_id) from assets").await.remove(0);
        app.query(ASSET, json!({"id": id})).await;
        // A commit takes as long as somebody holds this.
        app.sql("create table gate (held int)").await;
        app.sql(
            "create function wait_at_the_gate() returns trigger language plpgsql as \
             $$ begin lock table gate in share mode; return null; end $$",
        )
        .await;
        app.sql(
            "create constraint trigger slow after insert on receipts deferrable initially deferred \
             for each row execute function wait_at_the_gate()",
        )
        .await;
        let outsider = crate::harness::session(&database.url).await;
        let gate = outsider.begin().await.expect("begins");
        gate.execute_unprepared("lock table gate").await.expect("locked");
        let committing = async {
            until_held(&database.url, 1).await;
            proxy.set(Mode::BlackHole);
            gate.rollback().await.expect("ends");
            // As long as it takes everybody to find out, and some time more.
            let (begun, mut since) = (Instant::now(), None);
            while since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(500)) {
                assert!(begun.elapsed() < Duration::from_secs(30), "nobody finds out");
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                since = since.or(is_marked(&answer).then(Instant::now));
            }
            proxy.set(Mode::Open);
        };
        let (sold, ()) = tokio::join!(pay(&app, &id), committing);
        assert!(sold.status().is_success(), "{}", sold.text().await.expect("text"));
        overlay::db::close(&outsider).await;
        app.stop().await;
    })
    .await;
}

fn is_marked(answer: &Response) -> bool {
    answer.headers().contains_key("warning")
}

/// Requests go another way than the feed, and that way is open.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_feed_alone_is_cut_every_read_is_of_postgresql() {
    for mode in [Mode::Cut, Mode::BlackHole] {
        with_database(async |database| {
            let setup = impatient().with("PG_POOLER_URL", &database.url);
            let (app, proxy) = TestApp::behind_proxy(&setup, database).await;
            let id = app.rows("select min(version_id) from assets").await.remove(0);
            app.query(ASSET, json!({"id": id})).await;
            proxy.set(mode);
            while app.app.cache.clock().is_trustworthy() {
                tokio::task::yield_now().await;
            }
            for round in 0..20 {
                let name = format!("round {round}");
                app.sql(&format!("update assets set name = '{name}' where version_id = '{id}'")).await;
                let answer = app.post(ASSET, json!({"id": id})).send().await.expect("answer");
                assert!(!answer.headers().contains_key("warning"), "{round}");
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!(body["data"]["asset"]["name"], name);
            }
            proxy.set(Mode::Open);
            app.stop().await;
        })
        .await;
    }
}
