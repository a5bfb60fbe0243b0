//! Subscriptions as events that a server sends.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{ASSETS, now, rename, versions};
use crate::harness::{Setup, TestApp, with, with_database};

/// A stream of events.
struct Events {
    response: Response,
    read: String,
}

/// One event: its type, its id, its data.
type Told = (String, String, Value);

impl Events {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.header("accept", "text/event-stream").send().await.expect("answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, read: String::new() }
    }

    /// A subscription by a POST; it is open when this answers.
    async fn open(app: &TestApp, variables: Value) -> Self {
        let mut events = Self::of(app.post(ASSETS, variables)).await;
        assert!(events.block().await.expect("a first word").contains("subscribed"));
        events
    }

    /// The next block of lines.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let block = self.read.drain(..end + 2).collect::<String>();
                return Some(block.trim_end().to_owned());
            }
            let chunk = tokio::time::timeout(std::time::Duration::from_secs(40), self.response.chunk());
            let chunk = chunk.await.expect("something is said").ok().flatten()?;
            self.read.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event.
    async fn next(&mut self) -> Option<Told> {
        loop {
            let block = self.block().await?;
            let of = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim_start().to_owned()).unwrap_or_default()
            };
            let kind = of("event:");
            if !kind.is_empty() {
                return Some((kind, of("id:"), serde_json::from_str(&of("data:")).unwrap_or_default()));
            }
        }
    }

    /// Version and name of the next change, and its id.
    async fn asset(&mut self) -> (String, String, String) {
        let (kind, id, data) = self.next().await.expect("an event");
        assert_eq!(kind, "next");
        let change = &data["data"]["assetChanged"];
        assert_eq!(change["token"], json!(id), "{data}");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{data}")).to_owned();
        (text(&change["versionId"]), text(&change["asset"]["name"]), id)
    }
}

/// The same as a link, as a browser's `EventSource` follows it.
fn link(app: &TestApp, query: &str) -> reqwest::RequestBuilder {
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    app.get(&format!("/graphql?{query}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_goes_on_where_it_was_cut_off() {
    with_database(async |database| {
        let first = TestApp::start(&Setup::seeded(), database).await;
        let ids = versions(&first, 2).await;
        let query = "subscription { assetChanged { token versionId asset { name } } }";
        first.caught_up().await;
        first.settled().await;
        let mut events = Events::of(link(&first, query)).await;
        let begun = events.block().await.expect("a first word");
        let begun = begun.lines().find_map(|line| line.strip_prefix("id:")).expect("an id").trim().to_owned();
        rename(&first, &[&ids[0], &ids[1]], "one").await;
        let told = events.asset().await;
        assert_eq!((&*told.0, &*told.1), (&*ids[0], "one"));
        let last = told.2;
        events.asset().await;
        // The server stops: the stream ends, and is not complete.
        let ending = tokio::spawn(async move { events.next().await });
        first.stop().await;
        assert_eq!(ending.await.expect("no panic"), None);
        let second = TestApp::start(&Setup::empty(), database).await;
        rename(&second, &[&ids[0]], "two").await;
        for (since, rest) in [(&last, 1), (&begun, 2)] {
            let mut events = Events::of(link(&second, query).header("last-event-id", since)).await;
            let mut told = Vec::new();
            for _ in 0..rest + 1 {
                told.push(events.asset().await.0);
            }
            let expected = [&ids[0], &ids[1], &ids[0]];
            assert_eq!(told.iter().collect::<Vec<_>>(), expected[2 - rest..]);
        }
        // From what cannot be read, or has not come, it goes on from now, and says that something may be missing.
        let (epoch, _) = last.split_once('.').expect("a token");
        for since in ["nonsense", &format!("{epoch}.99999999999.0")] {
            let link = link(&second, "subscription { assetChanged { gap versionId } }");
            let mut events = Events::of(link.header("last-event-id", since)).await;
            let (_, _, told) = events.next().await.expect("an event");
            assert_eq!(told["data"]["assetChanged"], json!({"gap": "NEW_HISTORY", "versionId": null}), "{since}");
            rename(&second, &[&ids[1]], since).await;
            let (_, _, told) = events.next().await.expect("an event");
            assert_eq!(told["data"]["assetChanged"]["versionId"], json!(ids[1]), "{since}");
        }
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_post_with_variables_and_for_any_operation() {
    with(Setup::seeded(), async |app| {
        let ids = versions(app, 2).await;
        let mut events = Events::open(app, json!({"since": now(app).await, "ids": [ids[1]]})).await;
        rename(app, &[&ids[0], &ids[1]], "it").await;
        assert_eq!(events.asset().await.0, ids[1]);
        // A query is one event; so is what is refused.
        for (request, part) in [
            (app.post("{ assets(first: 1) { nodes { name } } }", json!({})), "data"),
            (link(app, "{ assets(first: 1) { nodes { name } } }"), "data"),
            (app.post("{ nothing }", json!({})), "errors"),
            (app.post("subscription { assetChanged { nothing } }", json!({})), "errors"),
            (app.post("subscription { assetChanged(since: \"x\") { token } }", json!({})), "errors"),
            (link(app, "mutation { openSession { sid } }"), "errors"),
        ] {
            let mut events = Events::of(request).await;
            let (kind, _, data) = events.next().await.expect("an event");
            assert!(kind == "next" && !data[part].is_null(), "{kind} {data}");
            assert_eq!(events.next().await.map(|told| told.0), Some("complete".into()));
            assert_eq!(events.next().await, None);
        }
        // What is no request at all is refused as ever.
        let refused = app.get("/graphql?query=").header("accept", "text/event-stream").send().await.expect("answer");
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        // Without events or a socket, a subscription is told what it needs.
        let accept = "application/graphql-response+json";
        let refused = app.post(ASSETS, json!({})).header("accept", accept).send().await.expect("answer");
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(refused.text().await.expect("text").contains("text/event-stream"));
    })
    .await;
}
