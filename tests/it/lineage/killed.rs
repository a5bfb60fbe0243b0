//! The server is killed amid events: what was acknowledged is kept, and what is sent again is kept once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::{KEY, event};
use crate::harness::makers::Random;
use crate::harness::process::Process;
use crate::harness::{rows_of, with_database};

/// Clients, and runs of each, which are told in two events.
const CLIENTS: usize = 16;
const RUNS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let mut random = Random::new();
    let moment = 50 + random.below(CLIENTS * RUNS);
    with_database(async |database| {
        let serve = || Process::patient(&database.url, &[("INGEST_API_KEYS", KEY)]);
        let server = serve();
        let address = watch::Sender::new(Some(server.address().to_owned()));
        let (sent, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (mut address, sent, lost) = (address.subscribe(), sent.clone(), lost.clone());
                tokio::spawn(async move {
                    let http = reqwest::Client::new();
                    for told in 0..2 * RUNS {
                        let run = format!("{client}-{}", told / 2);
                        let told = match told % 2 {
                            0 => event(&run, "START", 1, &["in"], &[]),
                            _ => event(&run, "COMPLETE", 2, &[], &[&format!("out-{client}")]),
                        };
                        loop {
                            let address = address.wait_for(Option::is_some).await.expect("kept").clone();
                            let url = format!("http://{}/api/v1/lineage", address.expect("waited for"));
                            sent.fetch_add(1, Ordering::Relaxed);
                            match http.post(url).bearer_auth(KEY).json(&told).send().await {
                                Ok(answer) => {
                                    assert_eq!(answer.status().as_u16(), 201);
                                    break;
                                }
                                Err(_) => lost.fetch_add(1, Ordering::Relaxed),
                            };
                        }
                    }
                })
            })
            .collect();
        while sent.load(Ordering::Relaxed) < moment {
            tokio::task::yield_now().await;
        }
        address.send_replace(None);
        drop(server);
        let server = tokio::task::block_in_place(serve);
        address.send_replace(Some(server.address().to_owned()));
        for client in clients {
            client.await.expect("all are acknowledged");
        }
        assert!(lost.load(Ordering::Relaxed) > 0, "nobody was cut off");
        let count = async |sql: &str| rows_of(&database.url, sql).await.remove(0);
        let events = (2 * CLIENTS * RUNS).to_string();
        // Beside what the demo market tells of itself.
        let of_clients = "select count(*)::text from lineage_event_audit where namespace <> 'overlay:dev'";
        assert_eq!(count(of_clients).await, events);
        let whole = "select count(*)::text from lineage_runs where job_namespace <> 'overlay:dev' and state = 'COMPLETE' and jsonb_array_length(inputs) = 1 \
            and jsonb_array_length(outputs) = 1";
        assert_eq!(count(whole).await, (CLIENTS * RUNS).to_string());
        let edges = "select count(*)::text from lineage_edges where job_namespace <> 'overlay:dev'";
        assert_eq!(count(edges).await, CLIENTS.to_string());
        server.terminate();
    })
    .await;
}
