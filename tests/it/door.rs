//! The door: who asks too often waits, what there is no room for is refused at once, and neither stands in anybody else's way.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};

use crate::harness::keys::Keys;
use crate::harness::socket::Socket;
use crate::harness::{Setup, TestApp, Wire, private_redis, refused, session, until_held, with};

/// Asks on behalf of `client`, as a proxy does.
fn asked(app: &TestApp, path: &str, client: &str) -> RequestBuilder {
    app.get(path).header("x-forwarded-for", client)
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.expect("answer").status()
}

/// Seconds after which a refused client may come back.
fn patience(answer: &Response) -> u64 {
    let told = answer.headers().get("retry-after").expect("told when to come back").to_str().expect("text");
    told.parse().expect("whole seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_asks_too_often_waits() {
    let setup = Setup::seeded().with("RATE_LIMITS_JSON", r#"{"address": 6}"#).with("TRUSTED_PROXIES", "127.0.0.0/8");
    with(setup, async |app| {
        // Kept answers, answers made by way of the router, pages that are not there: each is a request.
        let paths =
            ["/listings", "/listings", "/schema.graphql", "/nothing", "/policies", "/graphql?query={__typename}"];
        for path in paths {
            assert_ne!(status(asked(app, path, "192.0.2.1")).await, StatusCode::TOO_MANY_REQUESTS, "{path}");
        }
        for path in paths {
            let answer = asked(app, path, "192.0.2.1").header("origin", "https://shop.example").send().await;
            let answer = answer.expect("answer");
            assert!((1..=11).contains(&patience(&answer)), "{:?}", answer.headers());
            // A page of another origin can read why, and a person can find it in the log.
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
            assert!(answer.headers().contains_key("x-request-id"));
            assert_eq!(refused(answer, StatusCode::TOO_MANY_REQUESTS).await.0, "rate-limited");
        }
        // What the client itself wrote before its address is not believed.
        assert_eq!(status(asked(app, "/listings", "198.51.100.9, 192.0.2.1")).await, StatusCode::TOO_MANY_REQUESTS);
        for client in ["192.0.2.2", "2001:db8::1"] {
            assert_eq!(status(asked(app, "/listings", client)).await, StatusCode::OK, "{client}");
        }
        // Who watches over the server is not kept waiting.
        for path in ["/health", "/health/live", "/metrics"].into_iter().cycle().take(30) {
            assert_eq!(status(asked(app, path, "192.0.2.1")).await, StatusCode::OK, "{path}");
        }
        let metrics = app.get("/metrics").send().await.expect("answer").text().await.expect("body");
        assert!(metrics.contains(r#"overlay_turned_away_total{by="address"}"#), "{metrics}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_believed_where_no_proxy_is_named() {
    with(Setup::empty().with("RATE_LIMITS_JSON", r#"{"address": 3}"#), async |app| {
        for n in 1..=3 {
            assert_eq!(status(asked(app, "/listings", &format!("192.0.2.{n}"))).await, StatusCode::OK);
        }
        assert_eq!(status(asked(app, "/listings", "192.0.2.4")).await, StatusCode::TOO_MANY_REQUESTS);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_a_socket_are_requests() {
    with(Setup::empty().with("RATE_LIMITS_JSON", r#"{"address": 3}"#), async |app| {
        // To open it is one.
        let mut socket = Socket::open(&app.url).await;
        for id in ["a", "b"] {
            socket.begin(id, "{ __typename }", json!({})).await;
            assert_eq!(socket.event(id).await, json!({"__typename": "Query"}));
            socket.hear().await;
        }
        socket.begin("c", "{ __typename }", json!({})).await;
        let told = socket.hear().await;
        assert_eq!(
            (&told["type"], &told["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!("RATE_LIMITED"))
        );
        socket.settled().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_asks_too_often_waits_however_it_shows_itself() {
    let Some((redis, _)) = private_redis().await else { return };
    let setup = Setup::empty().with("RATE_LIMITS_JSON", r#"{"identity": 3}"#).redis(redis.url());
    with(setup, async |app| {
        let (busy, other) = (Keys::of(0x51), Keys::of(0x52));
        let opened = busy.graphql(app, "mutation { openSession { sid } }", json!({})).await;
        let sid = opened["data"]["openSession"]["sid"].as_str().unwrap_or_else(|| panic!("{opened}")).to_owned();
        let query = json!({"query": "{ __typename }"});
        let within = || app.http.post(format!("{}/graphql", app.url)).bearer_auth(&sid).json(&query);
        assert_eq!(status(within()).await, StatusCode::OK);
        assert_eq!(status(busy.request(app, Method::POST, "/graphql", &query)).await, StatusCode::OK);
        for request in [within(), busy.request(app, Method::POST, "/graphql", &query)] {
            let answer = request.send().await.expect("answer");
            assert!((1..=21).contains(&patience(&answer)));
            assert_eq!(refused(answer, StatusCode::TOO_MANY_REQUESTS).await.0, "rate-limited");
        }
        let mut socket = Socket::raw(&app.url).await;
        let payload = json!({"authorization": format!("Bearer {sid}")});
        socket.say(&json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
        socket.begin("a", "{ __typename }", json!({})).await;
        assert_eq!(socket.hear().await["payload"][0]["extensions"]["code"], "RATE_LIMITED");
        assert_eq!(status(other.request(app, Method::POST, "/graphql", &query)).await, StatusCode::OK);
        assert_eq!(status(app.post("{ __typename }", json!({}))).await, StatusCode::OK, "who shows nothing");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_refused_at_once() {
    with(Setup::seeded().with("MAX_IN_FLIGHT", "2"), async |app| {
        app.settled().await;
        app.json("/listings?limit=1").await;
        let other = session(&app.database_url).await;
        let lock = other.begin().await.expect("begin");
        lock.execute_unprepared("lock table policies in access exclusive mode").await.expect("lock");
        let held: Vec<_> =
            (0..2).map(|n| app.get(&format!("/policies?limit={}", n + 1)).send()).map(tokio::spawn).collect();
        until_held(&app.database_url, 2).await;
        for path in ["/policies?limit=3", "/graphql?query={__typename}", "/", "/nothing"] {
            let answer = app.get(path).send().await.expect("answer");
            assert_eq!(patience(&answer), 1, "{path}");
            assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{path}");
            assert_eq!(refused(answer, StatusCode::SERVICE_UNAVAILABLE).await.0, "overloaded", "{path}");
        }
        // What costs nothing goes on, and who watches gets through.
        for path in ["/listings?limit=1", "/health/live", "/metrics"] {
            assert_eq!(status(app.get(path)).await, StatusCode::OK, "{path}");
        }
        lock.rollback().await.expect("rollback");
        for held in held {
            assert_eq!(held.await.expect("joined").expect("answer").status(), StatusCode::OK);
        }
        assert_eq!(status(app.get("/policies?limit=3")).await, StatusCode::OK);
        other.close().await.expect("closed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    with(Setup::empty().with("MAX_CONNECTIONS", "2"), async |app| {
        let ask = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut open: Vec<Wire> = (0..2).map(|_| Wire::new(&app.url[7..])).collect();
        for wire in &mut open {
            assert_eq!(wire.ask(ask).await.expect("answer").status, 200);
        }
        assert!(Wire::new(&app.url[7..]).ask(ask).await.is_err(), "a third one");
        for wire in &mut open {
            assert_eq!(wire.ask(ask).await.expect("answer").status, 200, "those that are there stay");
        }
        open.pop();
        let again = async { while Wire::new(&app.url[7..]).ask(ask).await.is_err() {} };
        tokio::time::timeout(std::time::Duration::from_secs(40), again).await.expect("its place is free again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_told_is_told_nowhere() {
    let (inside, near) = ("{ __schema { queryType { name } } }", "{ asets { nodes { name } } }");
    with(Setup::seeded(), async |app| {
        app.query(inside, json!({})).await;
        assert!(app.errors(near, json!({})).await.to_string().contains("Did you mean"));
        assert_eq!(status(app.get("/schema.graphql")).await, StatusCode::OK);
    })
    .await;
    with(Setup::seeded().with("INTROSPECTION", "false"), async |app| {
        for inside in [inside, "{ __type(name: \"Asset\") { name } }", "{ a: __schema { types { name } } }"] {
            let told = app.errors(inside, json!({})).await;
            assert!(told[0]["message"].to_string().contains("INTROSPECTION"), "{inside}: {told}");
        }
        let mut told = std::collections::BTreeSet::new();
        for near in [
            near,
            "{ assets { nodes { nam } } }",
            "{ assets(frist: 1) { nodes { name } } }",
            "{ assets(orderBy: {field: NAM}) { nodes { name } } }",
            "{ asset { name } }",
            "mutation { createReceipt(input: {}) { receipt { receiptId } } }",
        ] {
            told.insert(app.errors(near, json!({})).await.to_string());
        }
        assert_eq!(told.len(), 1, "nothing is told apart: {told:?}");
        assert_eq!(
            refused(app.get("/schema.graphql").send().await.expect("answer"), StatusCode::NOT_FOUND).await.0,
            "not-found"
        );
        assert_eq!(app.query("{ __typename }", json!({})).await["__typename"], "Query");
        app.query("{ assets { nodes { __typename name } } }", json!({})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_would_be_too_large_is_none() {
    with(Setup::seeded().with("RESPONSE_SIZE_LIMIT", "16kb"), async |app| {
        let manifests = "query($n: Int) { assets(first: $n) { nodes { versionId manifest } } }";
        let names = "query($n: Int) { assets(first: $n) { nodes { versionId name createdAt updatedAt versionId2: versionId versionId3: versionId } } }";
        // Said twice, so that the second answer is by a plan where there is one.
        for query in [manifests, names] {
            for _ in 0..2 {
                app.query(query, json!({"n": 2})).await;
            }
            let told = app.errors(query, json!({"n": 100})).await;
            assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
            assert_eq!(told[0]["extensions"]["code"], "RESPONSE_TOO_LARGE");
            app.query(query, json!({"n": 2})).await;
        }
        let many: String = (0..300).map(|n| format!("a{n}: manifest d{n}: description ")).collect();
        let many = format!("{{ assets(first: 1) {{ nodes {{ {many} }} }} }}");
        assert_eq!(app.errors(&many, json!({})).await[0]["extensions"]["code"], "RESPONSE_TOO_LARGE");
        let events = app.post(manifests, json!({"n": 100})).header("accept", "text/event-stream");
        let events = events.send().await.expect("answer").text().await.expect("body");
        assert!(events.len() < 1_000 && events.contains("RESPONSE_TOO_LARGE"), "{events}");
        let graphql = app.post(manifests, json!({"n": 100})).header("accept", "application/graphql-response+json");
        assert_eq!(status(graphql).await, StatusCode::BAD_REQUEST);
        let mut socket = Socket::open(&app.url).await;
        for query in [manifests, names] {
            socket.begin("a", query, json!({"n": 100})).await;
            let told = socket.hear().await;
            assert!(told.to_string().contains("RESPONSE_TOO_LARGE"), "{told}");
            if told["type"] == "next" {
                socket.hear().await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_too_many_tokens_are_not_parsed() {
    with(Setup::empty(), async |app| {
        for (words, passes) in [(1_998, true), (1_999, false)] {
            let document = format!("{{{}}}", "__typename ".repeat(words));
            let answer: Value =
                app.post(&document, json!({})).send().await.expect("answer").json().await.expect("JSON");
            assert_eq!(answer["data"]["__typename"] == "Query", passes, "{words}: {answer:.200}");
            assert!(passes || answer.to_string().contains("2000 tokens"), "{answer:.200}");
        }
    })
    .await;
}
