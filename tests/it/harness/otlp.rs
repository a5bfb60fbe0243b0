//! An OTLP collector, and as much of its protocol as says which spans came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;

/// The bodies that a collector was sent.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<Vec<Bytes>>>);

/// A span, as it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    /// Empty for a root.
    pub(crate) parent: Vec<u8>,
    pub(crate) name: String,
    /// Those that are texts.
    pub(crate) texts: BTreeMap<String, String>,
    /// The spans of other requests that it worked for.
    pub(crate) links: usize,
}

/// A collector that keeps what it is sent, and its address.
pub(crate) async fn collector() -> (String, Received) {
    let received = Received::default();
    let keep = |State(received): State<Received>, body: Bytes| async move {
        received.0.lock().expect("lock").push(body);
    };
    let router = Router::new().route("/v1/traces", post(keep)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

impl Received {
    /// Whether these bytes came. Protobuf keeps texts as they are.
    pub(crate) fn contains(&self, needle: &str) -> bool {
        let bodies = self.0.lock().expect("lock");
        bodies.iter().any(|body| body.windows(needle.len()).any(|window| window == needle.as_bytes()))
    }

    /// All spans.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let bodies = self.0.lock().expect("lock");
        // ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans.
        let inner = |messages: Vec<Vec<u8>>, number: u64| -> Vec<Vec<u8>> {
            messages.iter().flat_map(|message| of(message, number)).map(<[u8]>::to_vec).collect()
        };
        let requests: Vec<Vec<u8>> = bodies.iter().map(|body| body.to_vec()).collect();
        inner(inner(inner(requests, 1), 2), 2).iter().map(|span| Span::read(span)).collect()
    }
}

impl Span {
    fn read(message: &[u8]) -> Self {
        let one = |number| of(message, number).into_iter().next().unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let attribute = |bytes: &&[u8]| {
            let value = of(bytes, 2).into_iter().next()?;
            Some((text(of(bytes, 1).first()?), text(of(value, 1).first()?)))
        };
        Self {
            trace: one(1).to_vec(),
            id: one(2).to_vec(),
            parent: one(4).to_vec(),
            name: text(one(5)),
            texts: of(message, 9).iter().filter_map(attribute).collect(),
            links: of(message, 13).len(),
        }
    }
}

/// The fields of a message that have this number and a length.
fn of(mut message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(length);
        message = rest;
        if key & 7 == 2 && key >> 3 == wanted {
            found.push(value);
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first().expect("a whole number");
        *message = rest;
        value |= u64::from(first & 127) << shift;
        if first & 128 == 0 {
            return value;
        }
    }
    panic!("a number without an end")
}
