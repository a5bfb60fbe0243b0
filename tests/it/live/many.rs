//! Two thousand subscribers of one process, and of the one that takes its place.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{ASSETS, asset};
use crate::harness::process::Process;
use crate::harness::socket::Socket;
use crate::harness::{Database, rows_of, session, with_database};
use crate::races::setting;

fn serve(database: &Arc<Database>) -> Process {
    tokio::task::block_in_place(|| Process::patient(&database.url, &[]))
}

/// Opens a subscription that goes on from `since`.
async fn subscribed(url: &str, since: &str) -> Socket {
    let mut socket = Socket::open(url).await;
    socket.begin("1", ASSETS, json!({"since": since})).await;
    socket.settled().await;
    socket
}

/// What the next events tell, and the token of the last.
async fn told(socket: &mut Socket, count: usize) -> (String, String) {
    let (mut names, mut last) = (Vec::new(), String::new());
    for _ in 0..count {
        let (_, name, token) = asset(socket, "1").await;
        names.push(name);
        last = token;
    }
    // Nothing else is on its way.
    socket.settled().await;
    (names.join(" "), last)
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_subscribers_are_told_each_change_once_and_in_order_across_a_restart() {
    // The clients are in this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("up to the hard limit");
    let many = setting("OVERLAY_SUBSCRIBERS", 2_000) as usize;
    with_database(async |database| {
        let first = serve(database);
        let url = format!("http://{}", first.address());
        let outsider = session(&database.url).await;
        let ids = rows_of(&database.url, "select version_id from assets order by 1 limit 3").await;
        let rename = async |names: [&str; 3]| {
            for (id, name) in ids.iter().zip(names) {
                let sql = format!("update assets set name = '{name}' where version_id = '{id}'");
                sea_orm::ConnectionTrait::execute_unprepared(&outsider, &sql).await.expect("written");
            }
        };
        // What was seeded lies behind once the horizon has passed it: other tests' transactions hold it back.
        let next = rows_of(&database.url, "select pg_snapshot_xmax(pg_current_snapshot())::text").await.remove(0);
        let next: u64 = next.parse().expect("a number");
        let http = reqwest::Client::new();
        let since = async {
            loop {
                let ask = http.post(format!("{url}/graphql")).header("overlay-consistency", "strong");
                let answer = ask.json(&json!({"query": "{ changeToken }"})).send().await.expect("answer");
                let answer: Value = answer.json().await.expect("JSON");
                let token = answer["data"]["changeToken"].as_str().unwrap_or_else(|| panic!("{answer}"));
                if token.split('.').nth(1).is_some_and(|xid| xid.parse::<u64>().is_ok_and(|xid| xid + 1 >= next)) {
                    return token.to_owned();
                }
            }
        };
        let since = tokio::time::timeout(std::time::Duration::from_secs(60), since).await.expect("it passes");
        let before = first.memory();
        let mut sockets = Vec::new();
        for _ in 0..many.div_ceil(100) {
            sockets.extend(join_all((0..100).map(|_| subscribed(&url, &since))).await);
        }
        let grown = first.memory().saturating_sub(before);
        eprintln!("{} subscribers take {} bytes each", sockets.len(), grown / sockets.len() as u64);

        let begun = std::time::Instant::now();
        // What others wrote since the token is told too, if it comes to assets: nobody does.
        rename(["a", "b", "c"]).await;
        let tokens = join_all(sockets.iter_mut().map(|socket| told(socket, 3))).await;
        eprintln!("told three changes each in {:?}", begun.elapsed());
        assert!(tokens.iter().all(|(names, _)| names == "a b c"), "{tokens:?}");

        tokio::task::block_in_place(|| first.terminate());
        for socket in &mut sockets {
            assert_eq!(socket.closed().await.0, 1001);
        }
        drop(sockets);
        rename(["d", "e", "f"]).await;
        let second = serve(database);
        let url = format!("http://{}", second.address());
        for batch in tokens.chunks(100) {
            let again = batch.iter().map(async |(_, token)| {
                let mut socket = Socket::open(&url).await;
                socket.begin("1", ASSETS, json!({"since": token})).await;
                told(&mut socket, 3).await.0
            });
            assert!(join_all(again).await.iter().all(|names| names == "d e f"));
        }
        tokio::task::block_in_place(|| second.terminate());
        outsider.get_postgres_connection_pool().close().await;
    })
    .await;
}
