//! The protocol `graphql-transport-ws`: who does not keep to it is sent away with the code that clients know.

use serde_json::{Value, json};

use super::{ASSETS, asset, now, rename, versions};
use crate::harness::keys::Keys;
use crate::harness::socket::Socket;
use crate::harness::{Setup, TestApp, private_redis, with, with_database};

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_to_it_is_sent_away() {
    with(Setup::seeded(), async |app| {
        let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": ASSETS}});
        let init = json!({"type": "connection_init"});
        let cases: Vec<(u16, Vec<Value>)> = vec![
            (4401, vec![subscribe.clone()]),
            (4429, vec![init.clone(), init.clone()]),
            (4409, vec![init.clone(), subscribe.clone(), subscribe.clone()]),
            (4400, vec![json!({"type": "start"})]),
            (4400, vec![json!({"kind": "connection_init"})]),
            (4400, vec![json!([])]),
            (4400, vec![init.clone(), json!({"id": 1, "type": "subscribe", "payload": {"query": "{a}"}})]),
            (4400, vec![init.clone(), json!({"id": "", "type": "subscribe", "payload": {"query": "{a}"}})]),
            (4400, vec![init.clone(), json!({"id": "1", "type": "subscribe", "payload": {"query": 1}})]),
            (
                4400,
                vec![init.clone(), json!({"id": "x".repeat(201), "type": "subscribe", "payload": {"query": "{a}"}})],
            ),
            (4403, vec![json!({"type": "connection_init", "payload": {"Authorization": "Bearer nobody"}})]),
            (4403, vec![json!({"type": "connection_init", "payload": {"authorization": 5}})]),
        ];
        for (code, words) in cases {
            let mut socket = Socket::raw(&app.url).await;
            for word in &words {
                socket.say(word).await;
            }
            let closed = loop {
                match socket.next().await {
                    Ok(told) => assert_eq!(told["type"], "connection_ack", "{words:?}"),
                    Err(closed) => break closed,
                }
            };
            assert_eq!(closed.0, code, "{words:?}: {closed:?}");
        }
        for text in ["", "{", "null", "\u{0}", &"[".repeat(100_000), "{\"type\":\"connection_init\",\"payload\":1e999}"]
        {
            let mut socket = Socket::raw(&app.url).await;
            socket.say_text(text.to_owned()).await;
            assert_eq!(socket.closed().await.0, 4400, "{text:.20}");
        }
        let mut socket = Socket::raw(&app.url).await;
        socket.say_bytes(vec![0, 1]).await;
        assert_eq!(socket.closed().await.0, 4400);
        let mut socket = Socket::raw(&app.url).await;
        socket.say_text("x".repeat(300 << 10)).await;
        assert_eq!(socket.closed().await.0, 1009);
        // Another protocol, or none.
        for protocol in [vec![("sec-websocket-protocol", "graphql-ws")], vec![]] {
            match Socket::connect(&app.url, &protocol).await {
                Ok(mut socket) => assert_eq!(socket.closed().await.0, 4406),
                // The client's own library minds first.
                Err(error) => assert!(error.contains("protocol") || error.contains("Protocol"), "{error}"),
            }
        }
        // Who says nothing.
        let mut silent = Socket::raw(&app.url).await;
        assert_eq!(silent.closed().await.0, 4408);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_mutations_are_operations_too() {
    with(Setup::seeded(), async |app| {
        let mut socket = Socket::open(&app.url).await;
        socket.begin("q", "query($n: Int!) { assets(first: $n) { nodes { name } } }", json!({"n": 2})).await;
        assert_eq!(socket.event("q").await["assets"]["nodes"].as_array().map(Vec::len), Some(2));
        assert_eq!(socket.hear().await, json!({"id": "q", "type": "complete"}));
        // The identifier is free again.
        for (query, code) in [
            ("{ nothing }", "BAD_REQUEST"),
            ("{", "BAD_REQUEST"),
            ("subscription { assetChanged { nothing } }", "BAD_REQUEST"),
            ("subscription { a: assetChanged { token } b: assetChanged { token } }", "BAD_REQUEST"),
            ("subscription { chainTipChanged(since: 5) { token } }", "BAD_REQUEST"),
            ("subscription { receiptChanged(receiptId: \"\") { token } }", "BAD_REQUEST"),
        ] {
            socket.begin("q", query, json!({})).await;
            let told = socket.hear().await;
            assert_eq!((&told["id"], &told["type"]), (&json!("q"), &json!("error")), "{query}: {told}");
            assert_eq!(told["payload"][0]["extensions"]["code"], code, "{query}: {told}");
        }
        let save = "mutation { savePolicy(input: {policyId: \"ws\", name: \"ws\", document: {minConfs: 2}}) { policy { name } } }";
        socket.begin("m", save, json!({})).await;
        let told = socket.hear().await;
        assert_eq!(told["payload"]["errors"][0]["extensions"]["code"], "IDENTITY_REQUIRED", "{told}");
        assert_eq!(socket.hear().await["type"], "complete");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_on_its_connection_until_it_is_closed() {
    let admin = Keys::of(99);
    let Some((server, _folder)) = private_redis().await else { return };
    with(Setup::seeded().redis(server.url()).with("ADMIN_IDENTITY_KEYS", admin.key.clone()), async |app| {
        let (sid, session) = crate::identity::sessions::open(app, &admin).await;
        let mut socket = Socket::raw(&app.url).await;
        let payload = json!({"Authorization": format!("Bearer {sid}")});
        socket.say(&json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
        let save = |name: &str| {
            format!("mutation {{ savePolicy(input: {{policyId: \"ws\", name: \"{name}\", document: {{}}}}) {{ policy {{ name }} }} }}")
        };
        socket.begin("1", &save("one"), json!({})).await;
        let told = socket.hear().await;
        assert_eq!(told["payload"]["data"]["savePolicy"]["policy"]["name"], "one", "{told}");
        let token = told["payload"]["extensions"]["consistency"].as_str().expect("a token").to_owned();
        assert_eq!(socket.hear().await["type"], "complete");
        // What it wrote is what it reads, with its token.
        let payload = json!({"query": "{ policy(policyId: \"ws\") { name } }", "extensions": {"consistency": token}});
        socket.say(&json!({"id": "r", "type": "subscribe", "payload": payload})).await;
        assert_eq!(socket.event("r").await["policy"]["name"], "one");
        assert_eq!(socket.hear().await["type"], "complete");
        let close = "mutation($id: String!) { closeSession(input: {sessionId: $id}) { session { sessionId } } }";
        let closed = app.post(close, json!({"id": session})).bearer_auth(&sid).send().await.expect("answer");
        let closed: Value = closed.json().await.expect("JSON");
        assert!(closed.get("errors").is_none(), "{closed}");
        socket.begin("2", &save("two"), json!({})).await;
        let told = socket.hear().await;
        assert_eq!(told["payload"]["errors"][0]["extensions"]["code"], "SESSION_EXPIRED", "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_bounded_and_end_when_they_are_ended() {
    with(Setup::seeded(), async |app| {
        let ids = versions(app, 1).await;
        let mut socket = Socket::open(&app.url).await;
        let since = now(app).await;
        for n in 0..101 {
            socket.begin(&n.to_string(), ASSETS, json!({"since": since})).await;
        }
        let refused = socket.hear().await;
        assert_eq!((&refused["id"], &refused["type"]), (&json!("100"), &json!("error")));
        assert_eq!(refused["payload"][0]["extensions"]["code"], "TOO_MANY_OPERATIONS");
        for n in 1..100 {
            socket.say(&json!({"id": n.to_string(), "type": "complete"})).await;
        }
        socket.settled().await;
        rename(app, &[&ids[0]], "x").await;
        assert_eq!(asset(&mut socket, "0").await.1, "x");
        // Nothing of what was ended comes.
        socket.settled().await;
        socket.begin("1", ASSETS, json!({"since": now(app).await})).await;
        socket.settled().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_kept_out_where_origins_are_named() {
    let setup = Setup::seeded().with("CORS_ORIGINS", "https://shop.example").with("DEV_IDENTITY", "true");
    with(setup, async |app| {
        let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
        let refused = Socket::connect(&app.url, &[protocol, ("origin", "https://evil.example")]).await.err();
        assert!(refused.is_some_and(|error| error.contains("403")));
        let mut welcome =
            Socket::connect(&app.url, &[protocol, ("origin", "https://shop.example")]).await.expect("is let in");
        welcome.say(&json!({"type": "connection_init"})).await;
        assert_eq!(welcome.hear().await["type"], "connection_ack");
        // It is a page of somebody else's all the same: it is not the developer.
        welcome
            .begin(
                "m",
                "mutation { savePolicy(input: {policyId: \"p\", name: \"p\", document: {}}) { policy { name } } }",
                json!({}),
            )
            .await;
        assert_eq!(welcome.hear().await["payload"]["errors"][0]["extensions"]["code"], "IDENTITY_REQUIRED");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_sends_its_clients_away_and_waits_for_none() {
    with_database(async |database| {
        let app = TestApp::start(&Setup::seeded(), database).await;
        let mut socket = Socket::open(&app.url).await;
        socket.begin("1", ASSETS, json!({"since": now(&app).await})).await;
        socket.settled().await;
        let raw = Socket::raw(&app.url).await;
        let listener = tokio::spawn(async move { socket.closed().await });
        let begun = std::time::Instant::now();
        app.stop().await;
        assert_eq!(listener.await.expect("no panic").0, 1001);
        // Far from what a connection that is not told would take.
        assert!(begun.elapsed() < std::time::Duration::from_secs(9), "{:?}", begun.elapsed());
        drop(raw);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_is_answered() {
    with(Setup::empty(), async |app| {
        for open in [true, false] {
            let mut socket = if open { Socket::open(&app.url).await } else { Socket::raw(&app.url).await };
            socket.close(4999).await;
            // What clients call clean: with the code that they gave.
            assert_eq!(socket.closed().await.0, 4999);
        }
    })
    .await;
}
