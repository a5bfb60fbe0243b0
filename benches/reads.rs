//! Reads on the database of `PG_URL`, through the whole router but without a socket: cold (nothing is cached) and warm
//! (memory has it). Times are a request's, from the router's entry to the answer's last byte.
//!
//! Run it with `make bench`, on a machine where `make run` has imported a catalogue.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use overlay::app::App;
use overlay::boot;
use overlay::config::Config;
use overlay::transport::front::Front;
use overlay::transport::http::{Served, service};
use tower::ServiceExt;

const NESTED: &str = "{ assets(first: 50) { nodes { name producer { name } parents { name producer { name } } } } }";

/// Requests of one kind, taken in turn.
struct Kind {
    name: &'static str,
    requests: Vec<String>,
}

#[tokio::main]
async fn main() {
    let cold = served(&[("CACHE_MEMORY_MB", "0")]).await;
    let warm = served(&[("CACHE_MEMORY_MB", "1024")]).await;
    let rows = warm.0.db.statements();
    let kinds = kinds(&warm.1).await;
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "request (times in ms)", "cold p50", "cold p95", "warm p50", "warm p95", "n"
    );
    for kind in kinds {
        let cold = measure(&cold.1, &kind.requests, 300).await;
        // Once round fills the memory.
        measure(&warm.1, &kind.requests, kind.requests.len()).await;
        let before = warm.0.db.statements();
        let warm_times = measure(&warm.1, &kind.requests, 3_000).await;
        assert_eq!(warm.0.db.statements(), before, "{}: a warm read sent SQL", kind.name);
        let n = kind.requests.len();
        println!(
            "{:34} {} {} {} {} {n:>7}",
            kind.name,
            at(&cold, 50),
            at(&cold, 95),
            at(&warm_times, 50),
            at(&warm_times, 95)
        );
    }
    assert!(warm.0.db.statements() > rows, "something was loaded");
}

async fn served(settings: &[(&str, &str)]) -> (App, Front) {
    let given = |name: &str| match name {
        "PG_URL" => std::env::var(name).ok(),
        name => settings.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()),
    };
    let config = Config::read(&given).unwrap_or_else(|faults| panic!("{faults:?}"));
    let database = config.database.clone().expect("PG_URL names the database; `make bench` sets it");
    let app = boot::furnish(&config, &database, None).await.expect("the database answers");
    let served = Served::new(&config, app.clone()).expect("metrics");
    (app, service(served))
}

async fn kinds(router: &Front) -> Vec<Kind> {
    let (_, body) = ask(router, "/listings?limit=200").await;
    let listing: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let items = listing["items"].as_array().expect("items").clone();
    let texts = |field: &str| items.iter().map(|i| i[field].as_str().expect("a text").to_owned()).collect::<Vec<_>>();
    let mut producers = texts("producerId");
    producers.sort();
    producers.dedup();
    let words = ["compress", "weather", "kernel", "python", "font", "crypto", "wayland", "fortran", "midi", "ocaml"];
    let listings =
        |list: &[String], name: &str| list.iter().map(|v| format!("/listings?{name}={v}&limit=50")).collect();
    let nested = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", NESTED).finish();
    vec![
        Kind { name: "/listings?q=compress&limit=50", requests: vec!["/listings?q=compress&limit=50".into()] },
        Kind { name: "/listings?q=<10 words>&limit=50", requests: listings(&words.map(String::from), "q") },
        Kind { name: "/listings?q=lib (common)", requests: vec!["/listings?q=lib&limit=50".into()] },
        Kind { name: "/listings?producerId=…&limit=50", requests: listings(&producers, "producerId") },
        Kind { name: "/listings?limit=50", requests: vec!["/listings?limit=50".into()] },
        Kind {
            name: "/listings/<versionId>",
            requests: texts("versionId").iter().map(|v| format!("/listings/{v}")).collect(),
        },
        Kind { name: "GraphQL: 50 assets, nested", requests: vec![format!("/graphql?{nested}")] },
        Kind {
            name: "GraphQL: search(\"compression\")",
            requests: vec![
                "/graphql?query={search(query:\"compression\",first:50){nodes{name}}}"
                    .replace('"', "%22")
                    .replace('{', "%7B")
                    .replace('}', "%7D"),
            ],
        },
    ]
}

async fn ask(router: &Front, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).header(header::HOST, "localhost").body(Body::empty()).expect("a request");
    let answer = router.clone().oneshot(request).await.expect("infallible");
    let status = answer.status();
    (status, axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body").to_vec())
}

async fn measure(router: &Front, requests: &[String], times: usize) -> Vec<Duration> {
    let mut out = Vec::with_capacity(times);
    for request in requests.iter().cycle().take(times) {
        let begun = Instant::now();
        let (status, body) = ask(router, request).await;
        out.push(begun.elapsed());
        assert_eq!(status, StatusCode::OK, "{request}: {}", String::from_utf8_lossy(&body));
    }
    out.sort_unstable();
    out
}

/// A percentile in ms, as text.
fn at(sorted: &[Duration], percent: usize) -> String {
    let index = (sorted.len() * percent / 100).min(sorted.len() - 1);
    format!("{:>9.3}", sorted[index].as_secs_f64() * 1e3)
}
