//! How an answer came about is told to administrators, and to nobody else; asking changes nothing that is kept.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::keys::{Keys, nonce};
use crate::harness::{Setup, TestApp, private_redis, refused, with};

const EXPLAIN: &str = "overlay-explain";

async fn told(request: reqwest::RequestBuilder) -> (Response, Value) {
    let answer = request.header(EXPLAIN, "1").send().await.expect("answer");
    let told = answer.headers().get(EXPLAIN).map_or("null".into(), |value| value.to_str().expect("text").to_owned());
    (answer, serde_json::from_str(&told).expect("JSON"))
}

/// The headers that tell of the request and not of the answer are left out.
async fn plain(answer: Response) -> (StatusCode, Vec<(String, String)>, String) {
    let apart = [
        "x-request-id",
        "server-timing",
        "date",
        EXPLAIN,
        "overlay-consistency",
        "age",
        "cache-status",
        "x-cache",
        "cache-control",
    ];
    let headers = answer.headers().iter().filter(|(name, _)| !apart.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
    let (status, mut headers): (_, Vec<_>) = (answer.status(), headers.collect());
    headers.sort();
    (status, headers, answer.text().await.expect("body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_explained_layer_by_layer() {
    let Some((redis, _folder)) = private_redis().await else { return };
    let setup = Setup::seeded().with("DEV_IDENTITY", "true").redis(redis.url());
    with(setup, async |app| {
        app.settled().await;
        let version = app.version("Wind power features").await;
        let path = format!("/listings/{version}");
        let query = "query($id: Hex32!) { asset(versionId: $id) { name } }";
        let rest = |app: &TestApp| app.get(&path);
        let graphql = |app: &TestApp| app.post(query, json!({"id": version}));
        for ask in [&rest as &dyn Fn(&TestApp) -> reqwest::RequestBuilder, &graphql] {
            let (answer, first) = told(ask(app)).await;
            assert_eq!(answer.status(), 200, "{first}");
            assert_eq!((&first["layer"], &first["why"]), (&json!("none"), &json!("absent")), "{first}");
            let has_tag = |told: &Value| {
                told["tags"].as_array().is_some_and(|tags| tags.contains(&json!(format!("asset:{version}"))))
            };
            assert!(has_tag(&first) && first["isKept"] == true, "{first}");
            assert_eq!(answer.headers()["cache-control"], "private, no-store", "nothing in between keeps it");
            let explained = plain(answer).await;
            // The question has left no trace in what is kept, and is no part of it.
            let kept = ask(app).send().await.expect("answer");
            assert_eq!(
                (&kept.headers()["x-cache"], kept.headers().get(EXPLAIN)),
                (&"hit".parse().expect("value"), None)
            );
            assert_eq!(kept.headers()["cache-control"], first["cacheControl"].as_str().expect("what others are told"));
            assert_eq!(plain(kept).await, explained);
            let unasked = ask(app).header(EXPLAIN, "0").send().await.expect("answer");
            assert_eq!(unasked.headers().get(EXPLAIN), None);
            let (answer, second) = told(ask(app)).await;
            assert_eq!(answer.headers()["x-cache"], "hit");
            assert_eq!(second["layer"], "memory", "{second}");
            assert!(has_tag(&second) && second["asOf"].is_u64() && second["epoch"].is_string(), "{second}");
            assert!(second["ageMs"].is_u64() && second["ttlMs"].as_u64().is_some_and(|ttl| ttl > 0), "{second}");
            assert_eq!(plain(answer).await, explained);
        }
        app.sql(&format!("update assets set updated_at = now() where version_id = '{version}'")).await;
        app.caught_up().await;
        let (_, after) = told(rest(app)).await;
        assert_eq!((&after["layer"], &after["why"]), (&json!("none"), &json!("changed")), "{after}");
        let changed = after["tried"][0]["changed"].as_array().expect("tags");
        assert!(changed.contains(&json!(format!("asset:{version}"))), "{after}");
        let (_, never) = told(app.get("/health/live")).await;
        assert_eq!((&never["layer"], &never["why"]), (&json!("none"), &json!("never-kept")), "{never}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_have_an_answer_explained() {
    let (admin, other) = (Keys::of(3), Keys::of(4));
    with(Setup::seeded().with("ADMIN_IDENTITY_KEYS", admin.key.clone()), async |app| {
        let signed = |keys: &Keys| {
            let headers = keys.headers(&nonce(), b"");
            headers.into_iter().fold(app.get("/listings"), |request, (name, value)| request.header(name, value))
        };
        let answer = app.get("/listings").header(EXPLAIN, "1").send().await.expect("answer");
        assert_eq!(answer.headers().get(EXPLAIN), None);
        assert_eq!(refused(answer, StatusCode::UNAUTHORIZED).await.0, "identity-required");
        let answer = signed(&other).header(EXPLAIN, "1").send().await.expect("answer");
        assert_eq!(answer.headers().get(EXPLAIN), None);
        assert_eq!(refused(answer, StatusCode::FORBIDDEN).await.0, "forbidden");
        app.settled().await;
        let (answer, first) = told(signed(&admin)).await;
        assert_eq!((answer.status(), &first["why"]), (StatusCode::OK, &json!("absent")), "{first}");
        // What the administrator's question had made is what anybody is served.
        let kept = app.get("/listings").send().await.expect("answer");
        assert_eq!(kept.headers()["x-cache"], "hit");
        assert_eq!(told(signed(&admin)).await.1["layer"], "memory");
    })
    .await;
}
