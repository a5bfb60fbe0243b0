//! What is said around the bodies: validators, where an answer came from, compression, cross-origin rules, request ids.

use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;

use crate::harness::{Setup, TestApp, refused, with};

async fn send(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(app.get(path), |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("answer")
}

fn text<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).unwrap_or_else(|| panic!("no {name}: {:?}", answer.headers())).to_str().expect("text")
}

/// The listing and a detail.
async fn reads(app: &TestApp) -> [String; 2] {
    ["/listings?limit=5".to_owned(), format!("/listings/{}", app.version("Wind power features").await)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_is_not_sent_again() {
    with(Setup::seeded(), async |app| {
        for (path, change) in reads(app).await.iter().zip([
            "update assets set updated_at = updated_at + interval '1 hour' where name = 'Wind power features'",
            "update assets set description = 'changed' where name = 'Wind power features'",
        ]) {
            let answer = send(app, path, &[]).await;
            let etag = text(&answer, "etag").to_owned();
            assert!(etag.starts_with("W/\"") || etag.starts_with('"'), "{etag}");
            let strong = etag.trim_start_matches("W/").to_owned();
            for known in [etag.clone(), strong.clone(), format!("\"other\", {etag}"), "*".into()] {
                let answer = send(app, path, &[("if-none-match", &known)]).await;
                assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{path} {known}");
                assert_eq!(text(&answer, "etag"), etag, "a 304 says what a 200 would");
                assert!(text(&answer, "cache-control").starts_with("public, max-age="));
                assert_eq!(answer.bytes().await.expect("body").len(), 0);
            }
            for known in ["\"other\"", "W/\"other\"", "nonsense"] {
                assert_eq!(
                    send(app, path, &[("if-none-match", known)]).await.status(),
                    StatusCode::OK,
                    "{path} {known}"
                );
            }
            assert_eq!(app.sql(change).await, 1);
            app.caught_up().await;
            let answer = send(app, path, &[("if-none-match", &etag)]).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path} has changed");
            assert_ne!(text(&answer, "etag"), etag);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_where_it_came_from_and_how_long_it_holds() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        for (path, max_age) in reads(app).await.iter().zip([120, 300]) {
            for (turn, outcome, status) in
                [(1, "miss", "overlay; fwd=miss"), (2, "hit", "overlay; hit"), (3, "hit", "overlay; hit")]
            {
                let (answer, statements) = app.statements(send(app, path, &[])).await;
                assert_eq!(text(&answer, "x-cache"), outcome, "{path}, turn {turn}");
                assert!(text(&answer, "cache-status").starts_with(status), "{path}: {}", text(&answer, "cache-status"));
                assert_eq!(statements == 0, outcome == "hit", "{path}, turn {turn}: {statements} statements");
                assert_eq!(text(&answer, "cache-control"), format!("public, max-age={max_age}"));
                let timing = text(&answer, "server-timing");
                assert!(timing.contains("load;dur=") && timing.contains("total;dur="), "{timing}");
                assert_eq!(text(&answer, "content-type"), "application/json");
            }
        }
        app.sql("update assets set name = 'renamed' where name = 'Wind power features'").await;
        app.settled().await;
        let again = send(app, "/listings?limit=5", &[]).await;
        assert_eq!(text(&again, "x-cache"), "miss", "what has changed is read again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_says_what_get_says_without_the_body() {
    with(Setup::seeded(), async |app| {
        let mut paths = reads(app).await.to_vec();
        paths.extend(["/health".into(), "/schema.graphql".into(), "/".into()]);
        for path in paths {
            let get = send(app, &path, &[]).await;
            let head = app.http.request(Method::HEAD, format!("{}{path}", app.url)).send().await.expect("answer");
            assert_eq!(head.status(), get.status(), "{path}");
            for name in ["etag", "cache-control", "content-type"] {
                assert_eq!(head.headers().get(name), get.headers().get(name), "{path} {name}");
            }
            assert_eq!(head.bytes().await.expect("body").len(), 0, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_for_who_reads_it() {
    with(Setup::seeded(), async |app| {
        let plain = send(app, "/listings?limit=50", &[]).await;
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
        let size = plain.bytes().await.expect("body").len();
        let packed = send(app, "/listings?limit=50", &[("accept-encoding", "gzip")]).await;
        assert_eq!(text(&packed, "content-encoding"), "gzip");
        let vary: Vec<&str> =
            packed.headers().get_all(header::VARY).iter().map(|v| v.to_str().expect("text")).collect();
        let vary = vary.join(", ").to_lowercase();
        assert!(vary.contains("accept-encoding") && vary.contains("overlay-consistency"), "{vary}");
        let bytes = packed.bytes().await.expect("body");
        assert!(bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() * 2 < size, "{} of {size} bytes", bytes.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_read_from_where_the_settings_say() {
    let preflight = async |app: &TestApp, origin: &str| {
        let request = app.http.request(Method::OPTIONS, format!("{}/graphql", app.url)).header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "content-type").send().await.expect("answer")
    };
    with(Setup::seeded(), async |app| {
        let answer = preflight(app, "https://shop.example").await;
        assert!(answer.status().is_success(), "{}", answer.status());
        assert_eq!(text(&answer, "access-control-allow-origin"), "*");
        for method in ["GET", "HEAD", "POST"] {
            assert!(text(&answer, "access-control-allow-methods").contains(method), "{method}");
        }
        let allowed = text(&answer, "access-control-allow-headers");
        assert!(allowed == "*" || allowed.contains("content-type"), "{allowed}");
        let answer = send(app, "/listings", &[("origin", "https://shop.example")]).await;
        assert_eq!(text(&answer, "access-control-allow-origin"), "*");
        for name in ["etag", "x-cache", "x-request-id"] {
            assert!(text(&answer, "access-control-expose-headers").contains(name), "{name}");
        }
    })
    .await;
    with(Setup::empty().with("CORS_ORIGINS", "https://shop.example, https://two.example"), async |app| {
        for (origin, allowed) in [
            ("https://shop.example", Some("https://shop.example")),
            ("https://two.example", Some("https://two.example")),
            ("https://evil.example", None),
            ("null", None),
        ] {
            for answer in [preflight(app, origin).await, send(app, "/listings", &[("origin", origin)]).await] {
                let told = answer.headers().get("access-control-allow-origin").map(|v| v.to_str().expect("text"));
                assert_eq!(told, allowed, "{origin}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_request_id() {
    with(Setup::seeded(), async |app| {
        for path in ["/listings", "/listings/xyz", "/nowhere", "/health", "/metrics", "/"] {
            let answer = send(app, path, &[("x-request-id", "mine-1_2.3:4")]).await;
            assert_eq!(text(&answer, "x-request-id"), "mine-1_2.3:4", "{path}");
            let (one, two) = (send(app, path, &[]).await, send(app, path, &[]).await);
            let (one, two) = (text(&one, "x-request-id"), text(&two, "x-request-id"));
            assert!(uuid::Uuid::parse_str(one).is_ok() && one != two, "{path}: {one} {two}");
            // What could break a log line or fill it is replaced.
            for wild in ["", "a b", "a\"b", "<x>", &"x".repeat(101)] {
                let answer = send(app, path, &[("x-request-id", wild)]).await;
                assert!(uuid::Uuid::parse_str(text(&answer, "x-request-id")).is_ok(), "{path} {wild:?}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_and_no_method_are_refused_in_json() {
    with(Setup::empty(), async |app| {
        for path in ["/nowhere", "/listings/a/b", "/graphql/x", "/health/nothing", "/%ff", "//"] {
            let answer = send(app, path, &[]).await;
            assert!(text(&answer, "content-type").starts_with("application/json"), "{path}");
            assert_eq!(refused(answer, StatusCode::NOT_FOUND).await.0, "not-found", "{path}");
        }
        for (method, path, allowed) in [
            (Method::POST, "/listings", &["GET", "HEAD"][..]),
            (Method::DELETE, "/listings/x", &["GET", "HEAD"]),
            (Method::PUT, "/health", &["GET", "HEAD"]),
            (Method::PATCH, "/graphql", &["GET", "HEAD", "POST"]),
            (Method::POST, "/", &["GET", "HEAD"]),
        ] {
            let answer = app.http.request(method.clone(), format!("{}{path}", app.url)).send().await.expect("answer");
            let mut told: Vec<&str> = text(&answer, "allow").split(',').map(str::trim).collect();
            told.sort_unstable();
            assert_eq!(told, allowed, "{method} {path}");
            assert_eq!(
                refused(answer, StatusCode::METHOD_NOT_ALLOWED).await.0,
                "method-not-allowed",
                "{method} {path}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_freshness_that_is_none_is_refused_by_name() {
    with(Setup::seeded(), async |app| {
        for wrong in ["", "soon", "strongly", "1.2.3", "00000000-0000-0000-0000-000000000000.x"] {
            let answer = send(app, "/listings", &[("overlay-consistency", wrong)]).await;
            let (code, hint) = refused(answer, StatusCode::BAD_REQUEST).await;
            assert_eq!((code.as_str(), hint.as_deref()), ("bad-request", Some("Overlay-Consistency")), "{wrong}");
        }
        for fine in ["strong", "bounded"] {
            assert_eq!(
                send(app, "/listings", &[("overlay-consistency", fine)]).await.status(),
                StatusCode::OK,
                "{fine}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_not_kept_by_anybody() {
    with(Setup::seeded(), async |app| {
        for path in ["/listings?limit=0", "/listings/xyz", "/nowhere"] {
            let answer = send(app, path, &[]).await;
            assert_eq!(text(&answer, "cache-control"), "no-store", "{path}");
            let body: Value = answer.json().await.expect("JSON");
            let known = ["error", "hint", "message"];
            assert!(body.as_object().is_some_and(|b| b.keys().all(|k| known.contains(&k.as_str()))), "{path}: {body}");
            assert!(
                body["error"].as_str().is_some_and(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '-')),
                "{body}"
            );
        }
    })
    .await;
}

/// Who asked for freshness must not be answered by a browser or a proxy the next time.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_had_to_be_fresh_is_not_stored_on_the_way() {
    with(Setup::seeded(), async |app| {
        for path in
            ["/listings".to_owned(), format!("/listings/{}", app.rows("select min(version_id) from assets").await[0])]
        {
            let answer = app.get(&path).header("Overlay-Consistency", "strong").send().await.expect("answer");
            assert_eq!(answer.headers()["cache-control"], "no-cache", "{path}");
            let answer = app.get(&path).send().await.expect("answer");
            assert!(
                answer.headers()["cache-control"].to_str().expect("text").starts_with("public, max-age="),
                "{path}"
            );
        }
    })
    .await;
}

/// What a body may not be is refused by name, before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_objects_of_what_can_be_kept() {
    with(Setup::seeded().with("DEV_IDENTITY", "true"), async |app| {
        let version = app.rows("select min(version_id) from assets").await.remove(0);
        for (path, body, named) in [
            ("/price", format!(r#"["{version}", 2000]"#), "object"),
            ("/pay", format!(r#" [ "{version}" ]"#), "object"),
            ("/api/v1/chain/merkleroot/verify", format!(r#"[["{version}", 4]]"#), "objects"),
            (
                "/advisories",
                format!(
                    r#"{{"type":"WARN","reason":"r","versionIds":["{version}"],"expiresAt":"+12345-01-01T00:00:00Z"}}"#
                ),
                "expiresAt",
            ),
            (
                "/advisories",
                format!(r#"{{"type":"WARN","reason":"r","versionIds":["{version}"],"payload":{{"a":"\u0000"}}}}"#),
                "payload",
            ),
        ] {
            let request = app.http.post(format!("{}{path}", app.url)).header("content-type", "application/json");
            let answer = request.body(body.clone()).send().await.expect("answer");
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path} {body}");
            let told: Value = answer.json().await.expect("JSON");
            assert_eq!(told["error"], "bad-request", "{told}");
            assert!(told.to_string().contains(named), "{told}");
        }
        // A text about an escape holds none.
        let body =
            format!(r#"{{"type":"WARN","reason":"r","versionIds":["{version}"],"payload":{{"a":"\\\\u0000"}}}}"#);
        let request = app.http.post(format!("{}/advisories", app.url)).header("content-type", "application/json");
        assert!(request.body(body).send().await.expect("answer").status().is_success());
        let answer = app.get("/pages/nothing.js").send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::NOT_FOUND).await.0, "not-found");
        let key = app.http.post(format!("{}/pay", app.url)).header("idempotency-key", "a b");
        let answer = key.json(&serde_json::json!({"versionId": version})).send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::BAD_REQUEST).await.1.as_deref(), Some("Idempotency-Key"));
    })
    .await;
    with(Setup::empty(), async |app| {
        let answer =
            app.http.post(format!("{}/pay", app.url)).json(&serde_json::json!({})).send().await.expect("answer");
        assert_eq!((answer.status(), text(&answer, "www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    })
    .await;
}
