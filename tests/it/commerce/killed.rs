//! The server is killed amid a thousand tries: there is one receipt, one charge, and everybody is told the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{paying, raw};
use crate::harness::keys::{Keys, bytes, nonce, with_headers};
use crate::harness::makers::Random;
use crate::harness::process::Process;
use crate::harness::{Database, rows_of, with_database};
use crate::races::setting;

/// Clients, and how often each of them asks for the same.
const CLIENTS: usize = 50;
const TRIES: usize = 20;

struct World {
    database: Arc<Database>,
    keys: Keys,
    http: reqwest::Client,
    /// The server of the moment; none while there is none.
    server: watch::Sender<Option<String>>,
    sent: AtomicUsize,
    lost: AtomicUsize,
}

impl World {
    fn serve(&self) -> Process {
        let server = Process::patient(&self.database.url, &[("PAY_SCRIPT_HEX", "51")]);
        self.server.send_replace(Some(server.address().to_owned()));
        server
    }

    /// Sends a request until it is answered.
    async fn answer(&self, path: &str, key: Option<&str>, body: &Value) -> String {
        let (body, mut server) = (bytes(body), self.server.subscribe());
        loop {
            let address = server.wait_for(Option::is_some).await.expect("the world is there").clone();
            let address = address.expect("waited for");
            let request = self.http.post(format!("http://{address}{path}"));
            let request = with_headers(request, self.keys.headers(&nonce(), &body)).body(body.clone());
            let request = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
            self.sent.fetch_add(1, Ordering::Relaxed);
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                if status == reqwest::StatusCode::SERVICE_UNAVAILABLE {
                    // A busy machine, which says when to come back: like an answer that was lost, it is asked for again.
                    tokio::task::yield_now().await;
                    continue;
                }
                if let Ok(told) = answer.text().await {
                    assert!(status.is_success(), "{path}: {status} {told}");
                    return told;
                }
            }
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A thousand tries of the same, while `server` is killed once `moment` of them are on their way; what they are told, and the
    /// server after that one.
    async fn a_thousand(
        self: &Arc<Self>, server: Process, moment: usize, path: &'static str, key: Option<&'static str>, body: &Value,
    ) -> (String, Process) {
        self.sent.store(0, Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
        let clients = (0..CLIENTS).map(|_| {
            let (world, body) = (self.clone(), body.clone());
            tokio::spawn(async move {
                let mut told = BTreeSet::new();
                for _ in 0..TRIES {
                    told.insert(world.answer(path, key, &body).await);
                }
                told
            })
        });
        let clients: Vec<_> = clients.collect();
        while self.sent.load(Ordering::Relaxed) < moment {
            tokio::task::yield_now().await;
        }
        self.server.send_replace(None);
        drop(server);
        let server = tokio::task::block_in_place(|| self.serve());
        let mut told = BTreeSet::new();
        for client in clients {
            told.append(&mut client.await.expect("no panic"));
        }
        assert!(self.lost.load(Ordering::Relaxed) > 0, "nobody was cut off");
        assert_eq!(told.len(), 1, "{path}: {told:?}");
        (told.pop_first().expect("one"), server)
    }

    async fn count(&self, sql: &str) -> String {
        rows_of(&self.database.url, sql).await.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_amid_a_thousand_tries_sells_once() {
    let mut random = Random::new();
    let mut moment = |from: usize, to: usize| from + random.below(to - from);
    with_database(async |database| {
        let world = Arc::new(World {
            database: database.clone(),
            keys: Keys::of(43),
            http: reqwest::Client::new(),
            server: watch::Sender::new(None),
            sent: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        });
        let mut server = world.serve();
        let before: usize = world.count("select count(*)::text from receipts").await.parse().expect("a number");
        let version = world.count("select version_id from assets order by 1 limit 1").await;
        // Once at the very beginning, once in the middle.
        let rounds = [("buy-0", 1, 40), ("buy-1", 300, 700)];
        for (n, (key, from, to)) in rounds.into_iter().take(setting("OVERLAY_KILLS", 2) as usize).enumerate() {
            let body = json!({"versionId": version, "quantity": n + 1});
            let (told, next) = world.a_thousand(server, moment(from, to), "/pay", Some(key), &body).await;
            let receipt: Value = serde_json::from_str(&told).expect("JSON");
            let id = receipt["receiptId"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
            let count = world.count("select count(*)::text from receipts").await;
            assert_eq!(count, (before + n + 1).to_string());

            let quote = world.answer("/payments/quote", None, &json!({"receiptId": id})).await;
            let quote: Value = serde_json::from_str(&quote).expect("JSON");
            let body = json!({"receiptId": id, "rawTx": raw(&paying(&quote["outputs"], key))});
            let (told, next) = world.a_thousand(next, moment(from, to), "/payments/submit", None, &body).await;
            assert!(told.contains("\"paid\""), "{told}");
            let charges = format!(
                "select string_agg(type || ' ' || amount_sat, ',' order by event_id) from revenue_events where receipt_id = '{id}'"
            );
            let amount = &receipt["amountSat"];
            assert_eq!(world.count(&charges).await, format!("quoted {amount},submitted {amount}"));
            server = next;
        }
        drop(server);
    })
    .await;
}
