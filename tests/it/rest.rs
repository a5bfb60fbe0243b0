//! The REST routes keep their promise.

use reqwest::StatusCode;

use crate::harness::{Setup, refused, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_id_that_is_none_is_refused_by_name() {
    with(Setup::seeded(), async |app| {
        let answer = app.get("/listings/xyz").send().await.expect("answer");
        let (code, hint) = refused(answer, StatusCode::BAD_REQUEST).await;
        assert_eq!((code.as_str(), hint.as_deref()), ("bad-request", Some("versionId")));
        let answer = app.get(&format!("/listings/{}", "0".repeat(64))).send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::NOT_FOUND).await.0, "not-found");
    })
    .await;
}
