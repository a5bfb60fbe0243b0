//! Events go when their time is over; what follows from them stays.

use super::{event, open, sending};
use crate::harness::node::until;
use crate::harness::{TestApp, with_database};

#[tokio::test(flavor = "multi_thread")]
async fn old_events_go_and_the_graph_stays() {
    with_database(async |database| {
        let app = TestApp::start(&open(), database).await;
        for (body, status) in [
            (event("old", "COMPLETE", 1, &["a"], &["b"]).to_string(), 201),
            (event("new", "COMPLETE", 2, &["b"], &["c"]).to_string(), 201),
            ("old letter".to_owned(), 400),
            ("new letter".to_owned(), 400),
        ] {
            let answer = sending(&app, "/api/v1/lineage", body).send().await.expect("answer");
            assert_eq!(answer.status().as_u16(), status);
        }
        app.sql("update lineage_event_audit set created_at = now() - interval '31 days' where run_id = 'old'").await;
        app.sql("update lineage_dead_letters set updated_at = now() - interval '31 days' where payload like 'old%'")
            .await;
        let kept = async |app: &TestApp| {
            let events = app.rows("select run_id from lineage_event_audit order by 1").await.join(" ");
            events + "|" + &app.rows("select payload from lineage_dead_letters order by 1").await.join(" ")
        };
        // Without a word about it, nothing goes.
        let forgotten =
            overlay::flows::lineage::retain::forget(&app.app, chrono::Utc::now() - chrono::TimeDelta::days(32));
        assert_eq!(forgotten.await.expect("answers"), 0);
        assert_eq!(kept(&app).await, "new old|new letter old letter");
        app.stop().await;
        let app = TestApp::start(&open().with("LINEAGE_KEEP_DAYS", "30"), database).await;
        until("the old ones are gone", async || kept(&app).await == "new|new letter").await;
        let rest = "select (select count(*) from lineage_edges) || ' ' || (select count(*) from lineage_runs)";
        assert_eq!(app.rows(rest).await, ["2 2"]);
        app.stop().await;
    })
    .await;
}
