//! Sessions: opened by a signature, alive while they are used, closed at once and everywhere.

use overlay::devstack::RedisServer;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::keys::Keys;
use crate::harness::{Setup, TestApp, private_redis, refused, with, with_database};

const OPEN: &str = "mutation { openSession { sid ttlMs session { sessionId identityKey } } }";
const CLOSE: &str = "mutation C($id: String!) { closeSession(input: {sessionId: $id}) { session { sessionId } } }";
const VIEWER: &str = "{ viewer { identityKey sessions { sessionId openedAt } } }";

pub(crate) async fn open(app: &TestApp, keys: &Keys) -> (String, String) {
    let answer = keys.graphql(app, OPEN, Value::Null).await;
    let opened = &answer["data"]["openSession"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text(&opened["sid"]), text(&opened["session"]["sessionId"]))
}

async fn within(app: &TestApp, sid: &str, query: &str, variables: Value) -> Value {
    let request = app.post(query, variables).bearer_auth(sid);
    request.send().await.expect("answer").json().await.expect("JSON")
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("ok")
}

async fn session_of(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lasts_while_it_is_used_and_ends_everywhere_when_it_is_closed() {
    let Some((server, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let setup = Setup::empty().redis(server.url()).with("CACHE_TTLS_JSON", r#"{"sessions": 600000}"#);
        let (first, second) = (TestApp::start(&setup, database).await, TestApp::start(&setup, database).await);
        let (keys, other) = (Keys::of(1), Keys::of(2));
        let (sid, id) = open(&first, &keys).await;
        let (another, another_id) = open(&second, &keys).await;
        assert_ne!(sid, another);
        let told = within(&second, &sid, VIEWER, Value::Null).await["data"]["viewer"].clone();
        let ids: Vec<&Value> = told["sessions"].as_array().expect("sessions").iter().map(|s| &s["sessionId"]).collect();
        assert_eq!((told["identityKey"].as_str(), ids), (Some(&*keys.key), vec![&json!(id), &json!(another_id)]));
        let opened: Vec<&str> =
            told["sessions"].as_array().expect("sessions").iter().filter_map(|s| s["openedAt"].as_str()).collect();
        assert!(opened.len() == 2 && opened.is_sorted(), "{told}");
        // A session is another's to neither see nor close.
        assert_eq!(code(&other.graphql(&first, CLOSE, json!({"id": id})).await), "NOT_FOUND");
        assert_eq!(code(&within(&first, &sid, OPEN, Value::Null).await), "FORBIDDEN");

        let mut redis = session_of(&server).await;
        let key = format!("sess:{sid}");
        let _: () = redis::cmd("PEXPIRE").arg(&key).arg(5_000).query_async(&mut redis).await.expect("set");
        within(&second, &sid, VIEWER, Value::Null).await;
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.expect("a time");
        assert!((500_000..=600_000).contains(&left), "its use prolongs it: {left} ms");

        let closed = within(&second, &another, CLOSE, json!({"id": id})).await;
        assert_eq!(closed["data"]["closeSession"]["session"]["sessionId"], json!(id));
        for app in [&first, &second] {
            assert_eq!(within(app, &sid, VIEWER, Value::Null).await["data"]["viewer"], Value::Null);
            let write = app.http.post(format!("{}/producers/register", app.url)).bearer_auth(&sid);
            let answer = write.json(&json!({"name": "N"})).send().await.expect("answer");
            assert_eq!(refused(answer, StatusCode::UNAUTHORIZED).await.0, "session-expired");
        }
        assert_eq!(code(&keys.graphql(&first, CLOSE, json!({"id": id})).await), "NOT_FOUND");
        // What Redis has lost is off the list.
        let _: () = redis::cmd("DEL").arg(format!("sess:{another}")).query_async(&mut redis).await.expect("deleted");
        assert_eq!(keys.graphql(&first, VIEWER, Value::Null).await["data"]["viewer"]["sessions"], json!([]));
        let members: Vec<String> =
            redis::cmd("SMEMBERS").arg(format!("sess:of:{}", keys.key)).query_async(&mut redis).await.expect("list");
        assert!(members.is_empty(), "{members:?}");

        for _ in 0..100 {
            open(&first, &keys).await;
        }
        assert_eq!(code(&keys.graphql(&first, OPEN, Value::Null).await), "TOO_MANY_SESSIONS");
        first.stop().await;
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_there_are_no_sessions_but_signatures_do() {
    with(Setup::empty(), async |app| {
        let keys = Keys::of(1);
        assert_eq!(code(&keys.graphql(app, OPEN, Value::Null).await), "UNAVAILABLE");
        let write = app.http.post(format!("{}/producers/register", app.url)).bearer_auth("a".repeat(43));
        let answer = write.json(&json!({"name": "N"})).send().await.expect("answer");
        assert_eq!(refused(answer, StatusCode::SERVICE_UNAVAILABLE).await.0, "unavailable");
        // Whether the session has ended is not known: that it has must not be told.
        let viewer = within(app, &"a".repeat(43), VIEWER, Value::Null).await;
        assert_eq!((code(&viewer), &viewer["data"]["viewer"]), ("UNAVAILABLE", &Value::Null), "{viewer}");
        const REGISTER: &str = "mutation { registerProducer(input: {name: \"N\"}) { producer { name } } }";
        assert_eq!(code(&keys.graphql(app, REGISTER, Value::Null).await), "ok");
    })
    .await;
}
