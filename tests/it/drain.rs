//! A server that is to end says so, and loses nothing of what it was asked.

use rustix::process::Signal;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use crate::harness::process::Process;
use crate::harness::socket::Socket;
use crate::harness::{Answer, Wire, session, until_held, with_database};

/// Long enough that no test sees its end.
const LONG: (&str, &str) = ("DRAIN_MS", "600000");

/// A read that the server answers by itself, and one that it hands to hyper.
const SHORT_WAY: &str = "GET /listings?limit=2 HTTP/1.1\r\nhost: a\r\n\r\n";
const LONG_WAY: &str = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

/// The same of reads that a lock on their tables keeps waiting.
const HELD: &str = "GET /listings?limit=7 HTTP/1.1\r\nhost: a\r\n\r\n";
const HELD_LONG_WAY: &str = "GET /policies?limit=7 HTTP/1.1\r\nhost: a\r\n\r\n";

async fn ready(process: &Process) -> Answer {
    let ask = "GET /health/ready HTTP/1.1\r\nhost: a\r\n\r\n";
    Wire::new(process.address()).ask(ask).await.expect("answer")
}

/// Asks the server to end; returns when it says so.
async fn draining(process: &Process) {
    process.signal(Signal::TERM);
    while ready(process).await.status != 503 {}
}

/// Asks the server to end; returns when it takes no connections any more.
async fn stopping(process: &Process) {
    process.signal(Signal::TERM);
    while tokio::net::TcpStream::connect(process.address()).await.is_ok() {}
}

async fn ended(process: Process) {
    tokio::task::spawn_blocking(|| process.ended()).await.expect("ends in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_is_not_ready_and_serves_on() {
    with_database(async |database| {
        let process = Process::patient(&database.url, &[LONG]);
        assert_eq!(ready(&process).await.status, 200);
        let mut kept = Vec::new();
        for ask in [SHORT_WAY, LONG_WAY] {
            let mut wire = Wire::new(process.address());
            let answer = wire.ask(ask).await.expect("answer");
            assert_eq!((answer.status, answer.header("connection")), (200, None));
            kept.push((wire, ask, answer.body));
        }
        draining(&process).await;
        let told = ready(&process).await;
        let told: serde_json::Value = serde_json::from_slice(&told.body).expect("JSON");
        assert_eq!((&told["ok"], &told["status"]), (&json!(false), &json!("draining")));
        for (mut wire, ask, before) in kept {
            for wire in [&mut wire, &mut Wire::new(process.address())] {
                let answer = wire.ask(ask).await.expect("it serves on");
                assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{ask}");
                assert_eq!(answer.body, before);
                assert_eq!(wire.rest(1).await.expect("an end in order"), b"");
            }
        }
        // Who asks twice does not want to wait.
        process.signal(Signal::TERM);
        ended(process).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_a_server_drains_is_answered() {
    with_database(async |database| {
        let process = Process::patient(&database.url, &[]);
        let other = session(&database.url).await;
        let lock = other.begin().await.expect("begin");
        lock.execute_unprepared("lock table policies, assets in access exclusive mode").await.expect("lock");
        let mut one = Wire::new(process.address());
        let mut two = Wire::new(process.address());
        // Three in one: what was asked behind another was asked too.
        one.send([HELD, SHORT_WAY, SHORT_WAY].concat().as_bytes()).await.expect("sent");
        two.send(HELD_LONG_WAY.as_bytes()).await.expect("sent");
        until_held(&database.url, 2).await;
        stopping(&process).await;
        lock.rollback().await.expect("rollback");
        for expected in [None, None, Some("close")] {
            let answer = one.receive(false).await.expect("answer");
            assert_eq!((answer.status, answer.header("connection")), (200, expected), "{}", answer.head);
        }
        assert_eq!(one.rest(1).await.expect("an end in order"), b"");
        let answer = two.receive(false).await.expect("answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.head);
        ended(process).await;
        other.close().await.expect("closed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_when_a_server_drains_is_answered() {
    with_database(async |database| {
        let process = Process::patient(&database.url, &[]);
        let mut wires: Vec<_> = (0..40).map(|_| Wire::new(process.address())).collect();
        let asks = || [SHORT_WAY, LONG_WAY].into_iter().cycle();
        for (wire, ask) in wires.iter_mut().zip(asks()) {
            assert_eq!(wire.ask(ask).await.expect("answer").status, 200);
        }
        // While it does not run: requests on idle connections, others on new ones, and then the word to end.
        process.signal(Signal::STOP);
        wires.extend((0..40).map(|_| Wire::new(process.address())));
        for (wire, ask) in wires.iter_mut().zip(asks()) {
            wire.send(ask.as_bytes()).await.expect("sent");
        }
        process.signal(Signal::TERM);
        process.signal(Signal::CONT);
        for (at, wire) in wires.iter_mut().enumerate() {
            let answer = wire.receive(false).await.unwrap_or_else(|lost| panic!("{at}: {lost}"));
            assert_eq!(answer.status, 200, "{at}");
        }
        drop(wires);
        ended(process).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_of_changes_is_sent_home_when_a_server_drains() {
    with_database(async |database| {
        let process = Process::patient(&database.url, &[("DRAIN_MS", "1")]);
        let url = format!("http://{}", process.address());
        // Of nothing that is there: what was seeded may be told late, when other tests' transactions hold it back.
        let subscription =
            format!("subscription {{ assetChanged(versionIds: [\"{}\"]) {{ versionId }} }}", "0".repeat(64));
        let mut socket = Socket::open(&url).await;
        socket.begin("a", &subscription, json!({})).await;
        socket.settled().await;
        let body = json!({"query": subscription});
        let events = reqwest::Client::new().post(format!("{url}/graphql")).header("accept", "text/event-stream");
        let mut events = events.json(&body).send().await.expect("answer");
        let begun = events.chunk().await.expect("a chunk").expect("the stream has begun");
        assert!(begun.starts_with(b": subscribed") || begun.starts_with(b":subscribed"), "{begun:?}");
        process.signal(Signal::TERM);
        assert_eq!(socket.closed().await.0, 1001, "going away");
        // To its end, not broken off.
        while events.chunk().await.expect("an end in order").is_some() {}
        ended(process).await;
    })
    .await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Frames up to the first of `kind`, as their kinds and streams.
async fn frames(wire: &mut Wire, kind: u8) -> Vec<(u8, u8)> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(last, _)| *last != kind) {
        let head = wire.rest(9).await.expect("a frame");
        assert_eq!(head.len(), 9, "the connection ended after {seen:?}");
        let length = u64::from(head[0]) << 16 | u64::from(head[1]) << 8 | u64::from(head[2]);
        wire.rest(length).await.expect("its payload");
        seen.push((head[3], head[8]));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_told_to_go_away_when_a_server_drains() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    with_database(async |database| {
        let process = Process::patient(&database.url, &[LONG]);
        // `GET /`, `http` by the static table, then `:authority: a`; the whole request.
        let request = |stream| frame(HEADERS, 5, stream, &[0x82, 0x84, 0x86, 0x01, 1, b'a']);
        let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
        let mut old = Wire::new(process.address());
        old.send(&[&opening[..], &request(1)].concat()).await.expect("sent");
        assert!(frames(&mut old, DATA).await.contains(&(HEADERS, 1)));
        draining(&process).await;
        frames(&mut old, GOAWAY).await;
        // A connection that has just begun is served all the same, and then told.
        let mut new = Wire::new(process.address());
        new.send(&opening).await.expect("sent");
        frames(&mut new, SETTINGS).await;
        new.send(&request(1)).await.expect("sent");
        let seen = frames(&mut new, DATA).await;
        assert!(seen.contains(&(HEADERS, 1)), "{seen:?}");
        assert!(seen.contains(&(GOAWAY, 0)) || frames(&mut new, GOAWAY).await.contains(&(GOAWAY, 0)));
        process.signal(Signal::TERM);
        ended(process).await;
    })
    .await;
}
