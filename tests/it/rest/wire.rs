//! The two ways of a request, read off the connection by the server itself or by hyper, are told apart by nothing but
//! their speed; and what is odd is not taken the short way.

use std::fmt::Write;

use crate::harness::makers::Random;
use crate::harness::{Answer, Setup, TestApp, Wire, with};

const LONG: &str = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

fn connect(app: &TestApp) -> Wire {
    Wire::new(app.url.trim_start_matches("http://"))
}

/// A connection whose requests hyper answers from now on.
async fn long(app: &TestApp) -> Wire {
    let mut wire = connect(app);
    assert_eq!(wire.ask(LONG).await.expect("answer").status, 200);
    wire
}

fn get(path: &str, headers: &[&str]) -> String {
    headed("GET", path, headers, "")
}

fn post(body: &str, headers: &[&str]) -> String {
    let length = format!("content-length: {}", body.len());
    headed("POST", "/graphql", &[&["content-type: application/json", &length], headers].concat(), body)
}

fn headed(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n");
    for header in headers {
        write!(text, "{header}\r\n").expect("a String takes every write");
    }
    text + "\r\n" + body
}

/// What must be equal: all but what differs from one request to the next.
fn essence(answer: &Answer) -> (u16, Vec<String>, Vec<u8>) {
    let varies = ["date: ", "x-request-id: ", "server-timing: ", "age: ", "cache-status: ", "overlay-consistency: "];
    let is_fixed = |line: &&str| !varies.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<String> = answer.head.lines().filter(is_fixed).map(str::to_owned).collect();
    for name in varies {
        if answer.header(name.trim_end_matches(": ")).is_some() {
            lines.push(name.to_owned());
        }
    }
    lines.sort();
    (answer.status, lines, answer.body.clone())
}

/// How many connections were handed over, that of `metrics` itself among them.
async fn handed_over(metrics: &mut Wire) -> f64 {
    let answer = metrics.ask(&get("/metrics", &[])).await.expect("answer");
    let text = String::from_utf8(answer.body).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("overlay_connections_handed_over_total "));
    line.map_or(0.0, |count| count.parse().expect("a number"))
}

/// Requests of all kinds that the short way takes.
async fn plain(app: &TestApp) -> Vec<String> {
    let detail = format!("/listings/{}", app.version("Wind power features").await);
    let first = connect(app).ask(&get(&detail, &[])).await.expect("answer");
    let etag = format!("If-None-Match: {}", first.header("etag").expect("a tag"));
    let changed = format!("if-modified-since: {}", first.header("last-modified").unwrap_or("nonsense"));
    let query = r#"{"query":"{ assets(first: 3) { nodes { name producer { name } } } }"}"#;
    let by_query = "/graphql?query=%7B+assets(first%3A2)+%7B+nodes+%7B+name+%7D+%7D+%7D";
    vec![
        get(&detail, &[]),
        get(&detail, &[&etag]),
        get(&detail, &[&changed]),
        get(&detail, &["accept-encoding: gzip", "connection: keep-alive"]),
        get(&detail, &["Overlay-Consistency: strong"]),
        get(&detail, &["overlay-consistency: nonsense"]),
        get(&detail, &["Origin: https://shop.example", "x-request-id: mine"]),
        headed("HEAD", &detail, &[], ""),
        headed("HEAD", &detail, &["accept-encoding: gzip"], ""),
        get("/listings?limit=3", &[]),
        get("/listings?limit=0", &[]),
        get("/listings/abc", &[]),
        headed("HEAD", "/listings/abc", &[], ""),
        get(
            &format!("/listings/{}", "0".repeat(64)),
            &["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ),
        post(query, &[]),
        post(query, &["accept: application/graphql-response+json"]),
        post(r#"{"query":"{ nothing }"}"#, &["accept: application/graphql-response+json"]),
        post("{", &[]),
        post("", &[]),
        headed("POST", "/graphql", &["content-type: text/plain", "content-length: 2"], "{}"),
        get(by_query, &[]),
        get("/graphql?query=mutation", &[]),
        headed("GET", by_query, &["content-length: 3"], "abc"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_answer_alike() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let requests = plain(app).await;
        let (mut short, mut long) = (connect(app), long(app).await);
        let before = handed_over(&mut long).await;
        for turn in ["made", "kept"] {
            for request in &requests {
                // Warm, so that both find the same.
                connect(app).ask(request).await.expect("answer");
                let (one, other) = (short.ask(request).await, long.ask(request).await);
                let (one, other) = (one.expect("the short way answers"), other.expect("the long way answers"));
                assert_eq!(essence(&one), essence(&other), "{turn}: {request}");
            }
        }
        assert_eq!(handed_over(&mut long).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_goes_the_long_way_and_is_answered() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let path = "/listings?limit=3";
        let mut metrics = long(app).await;
        let whole = connect(app).ask(&get(path, &[])).await.expect("answer").body;
        let query = r#"{"query":"{ assets(first: 3) { nodes { name } } }"}"#;
        let chunks = format!("{:x}\r\n{query}\r\n0\r\n\r\n", query.len());
        let length = format!("content-length: {}", query.len());
        let json = "content-type: application/json";
        for (request, status) in [
            (headed("POST", "/graphql", &[json, "transfer-encoding: chunked"], &chunks), 200),
            (headed("POST", "/graphql", &[json, &length, &length], query), 200),
            (headed("POST", "/graphql", &[json, &length, "content-length: 3"], query), 400),
            (headed("POST", "/graphql", &[json, "content-length: +3"], "abc"), 400),
            (headed("POST", "/graphql", &[json, "content-length: 99999999999999999999999"], "abc"), 400),
            (get(path, &["cookie: a=b"]), 200),
            (get(path, &["accept-encoding: gzip;q=0", "accept-encoding: identity"]), 200),
            (get(path, &["connection: close"]), 200),
            (get("/nowhere", &[]), 404),
            (headed("PUT", "/listings", &[], ""), 405),
            (headed("get", "/listings", &[], ""), 405),
            ("GET /listings?limit=3 HTTP/1.1\r\nbad header: 1\r\n\r\n".into(), 400),
            ("GET /list\x01ings HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
            (get(&format!("/listings?q={}", "a".repeat(60_000)), &[]), 400),
        ] {
            let before = handed_over(&mut metrics).await;
            let answer = connect(app).ask(&request).await.expect("an answer");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, status, "{:.200}: {text}", request);
            assert_eq!(handed_over(&mut metrics).await, before + 1.0, "{:.200}", request);
        }
        // Byte by byte is only slow.
        let mut wire = connect(app);
        for byte in get(path, &[]).bytes() {
            wire.send(&[byte]).await.expect("sent");
        }
        assert_eq!(wire.receive(false).await.expect("answer").body, whole);
        // HTTP/2 from the first byte: the server's settings answer the preface.
        let mut wire = connect(app);
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
        assert_eq!(wire.rest(4).await.expect("settings")[3], 4);
    })
    .await;
}

/// However a client's bytes are cut on the way, each request gets its answer, in order.
/// Servers in a row must not take one request for different sites'.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_its_host_once() {
    with(Setup::seeded(), async |app| {
        for (path, version, hosts, status) in [
            ("/listings", "1.1", "Host: a\r\n", 200),
            ("/listings", "1.1", "", 400),
            ("/listings", "1.1", "Host: a\r\nhost: b\r\n", 400),
            ("/listings", "1.0", "", 200),
            ("/health/live", "1.1", "", 400),
            ("/health/live", "1.0", "", 200),
        ] {
            let request = format!("GET {path} HTTP/{version}\r\n{hosts}\r\n");
            let answer = connect(app).ask(&request).await.expect("answer");
            let told = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!((answer.status, told.contains("Host")), (status, status == 400), "{request}: {told}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_between_packets_change_nothing() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let mut requests = plain(app).await;
        requests.push(LONG.into());
        let mut alone = Vec::new();
        for request in &requests {
            connect(app).ask(request).await.expect("answer");
            alone.push(essence(&connect(app).ask(request).await.expect("answer")));
        }
        let mut random = Random::new();
        for _ in 0..60 {
            // The last one hands the connection over, at times.
            let chosen: Vec<usize> = (0..1 + random.below(8)).map(|_| random.below(requests.len())).collect();
            let bytes: String = chosen.iter().map(|n| requests[*n].as_str()).collect();
            let (mut wire, mut rest) = (connect(app), bytes.as_bytes());
            while !rest.is_empty() {
                let (now, later) = rest.split_at((1 + random.below(400)).min(rest.len()));
                wire.send(now).await.expect("sent");
                rest = later;
            }
            for n in chosen {
                let answer = wire.receive(requests[n].starts_with("HEAD ")).await.expect("answer");
                assert_eq!(essence(&answer), alone[n], "{}", requests[n]);
            }
        }
    })
    .await;
}

/// A client that sends garbage hurts nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_or_cut_off_and_the_server_lives() {
    with(Setup::seeded(), async |app| {
        let requests = plain(app).await;
        let mut random = Random::new();
        for _ in 0..200 {
            let mut bytes = random.pick(&requests).clone().into_bytes();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, *random.pick(b"\r\n\0 :;,\xff0")),
                }
            }
            let mut wire = connect(app);
            // It may be refused before it is whole.
            let _cut_off = wire.send(&bytes).await;
        }
        assert_eq!(connect(app).ask(&requests[0]).await.expect("answer").status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_tells_what_get_would_and_freshness_is_not_for_others() {
    with(Setup::seeded(), async |app| {
        app.settled().await;
        let cookie: &[&str] = &["cookie: a=b"];
        for (way, headers) in [("short", &[][..]), ("long", cookie)] {
            let path = format!("/listings?limit=2&offset={}", way.len());
            let head = connect(app).ask(&headed("HEAD", &path, headers, "")).await.expect("answer");
            let get = connect(app).ask(&get(&path, headers)).await.expect("answer");
            assert_eq!(head.header("content-length"), get.header("content-length"), "{way}");
            let strong = [&["overlay-consistency: strong"], headers].concat();
            let strong = connect(app).ask(&headed("GET", &path, &strong, "")).await.expect("answer");
            assert_eq!(strong.header("cache-control"), Some("no-cache"), "{way}");
            assert_eq!(strong.body, get.body, "{way}");
        }
    })
    .await;
}

/// Neither a client that sends nothing, nor one that sends half a request, nor one that takes nothing of its answers
/// keeps a connection for ever, whoever serves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_lies_still_is_cut() {
    let setup = Setup::seeded().with("IDLE_TIMEOUT_MS", "300").with("REQUEST_TIMEOUT_MS", "300");
    with(setup, async |app| {
        let plain = get("/listings?limit=50", &[]);
        let odd = get("/listings?limit=50", &["cookie: a=b"]);
        for request in [&plain, &odd] {
            for more in [&[][..], b"GET /listings?limit=2 HTTP/1.1\r\nHost", b"PRI * HTTP/2.0\r\n\r\n"] {
                let mut wire = connect(app);
                assert_eq!(wire.ask(request).await.expect("answer").status, 200);
                wire.send(more).await.expect("sent");
                let rest = wire.rest(4096).await.expect("the server closes");
                assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
            }
            let (mut wire, requests) = (connect(app), request.repeat(64));
            // As nothing is taken, the server stops reading after some time, and then these wait.
            while wire.send(requests.as_bytes()).await.is_ok() {}
        }
        // A beginning of HTTP/2, and nothing after its preface.
        for bytes in [&b"PRI * HTTP/2.0\r\n\r\nS"[..], b"GET /nowhere HTTP/1.1\r\nHost: a\r\nX"] {
            let mut wire = connect(app);
            wire.send(bytes).await.expect("sent");
            wire.rest(4096).await.expect("the server closes");
        }
    })
    .await;
}
