//! Payments on their way to the network, by services that speak ARC (<https://bitcoin-sv.github.io/arc/api.html>) or the
//! Merchant API (<https://github.com/bitcoin-sv-specs/brfc-merchantapi>).
//!
//! Services are asked in order until one takes the payment. It is refused when all have answered and none has taken it: as long as
//! one could not be asked, it might have.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::error::{Error, Result};
use crate::https::{Answer, Https, credentials};

/// Most bytes of a service's answer. A Merkle path of the largest block is a few kilobytes.
const MOST: usize = 256 << 10;

/// Most characters of what a service says that are kept.
const MOST_SAID: usize = 300;

/// How far a payment's way to the network has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Broadcast {
    /// It is to be sent, or sent again.
    Due,
    /// A service has taken it.
    Accepted,
}

/// As the database has it; `internal` for a word that is none of these.
impl FromStr for Broadcast {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "due" => Ok(Self::Due),
            "accepted" => Ok(Self::Accepted),
            other => Err(Error::internal(format!("no such state of a broadcast: {other:?}"))),
        }
    }
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// ARC.
    Arc,
    /// The Merchant API.
    Mapi,
}

/// A service that takes payments.
#[derive(Clone)]
pub struct Provider {
    protocol: Protocol,
    /// Without user, password and a slash at the end.
    address: String,
    /// The host: what is told of it.
    name: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.protocol, self.name)
    }
}

/// What came of sending a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The service of that name has taken it.
    Accepted(String),
    /// All services refuse it; what the first said.
    Refused(String),
    /// None has taken it, and not all could be asked; what was wrong with the first that could not.
    Unreached(String),
}

/// What one service makes of a payment.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused(String),
    Unreached(String),
}

impl Provider {
    /// The service at `url`; `None` when that is no address. A key is sent as a bearer's.
    pub fn new(protocol: Protocol, url: &str, key: Option<&str>, timeout: Duration) -> Option<Self> {
        let mut url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let own = credentials(&mut url);
        let authorization = match key {
            Some(key) => {
                let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
            None => own,
        };
        let name = url.host_str()?.to_owned();
        url.set_query(None);
        url.set_fragment(None);
        let address = url.as_str().trim_end_matches('/').to_owned();
        Some(Self { protocol, address, name, authorization, timeout })
    }

    async fn ask(&self, https: &Https, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(Error::internal)?;
        let answer = tokio::time::timeout(self.timeout, https.ask(&self.name, request, MOST)).await;
        answer.unwrap_or_else(|_| Err(Error::unavailable(format!("{} does not answer", self.name))))
    }

    async fn send(&self, https: &Https, txid: &str, raw: &str) -> Verdict {
        let (path, body) = match self.protocol {
            Protocol::Arc => ("/v1/tx", json!({"rawTx": raw})),
            Protocol::Mapi => ("/mapi/tx", json!({"rawtx": raw})),
        };
        match self.ask(https, Method::POST, path, Some(body)).await {
            Err(error) => Verdict::Unreached(error.message().to_owned()),
            Ok(answer) => {
                let verdict = match self.protocol {
                    Protocol::Arc => arc(answer.status, &answer.body, txid),
                    Protocol::Mapi => mapi(answer.status, &answer.body, txid),
                };
                match verdict {
                    Verdict::Unreached(said) => Verdict::Unreached(format!("{} says: {said}", self.name)),
                    verdict => verdict,
                }
            }
        }
    }

    /// The Merkle path of a transaction as a BUMP, hex, once it is in a block. A service of the Merchant API knows none.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn path(&self, https: &Https, txid: &str) -> Result<Option<String>> {
        if self.protocol == Protocol::Mapi {
            return Ok(None);
        }
        let answer = self.ask(https, Method::GET, &format!("/v1/tx/{txid}"), None).await?;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(text(&told, "merklePath").filter(|path| !path.is_empty() && answer.status == StatusCode::OK))
    }
}

/// Sends a payment to the first service that takes it.
pub async fn send(https: &Https, providers: &[Provider], txid: &str, raw: &str) -> Sent {
    let (mut refused, mut unreached) = (None, None);
    for provider in providers {
        match provider.send(https, txid, raw).await {
            Verdict::Accepted => return Sent::Accepted(provider.name.clone()),
            Verdict::Refused(said) => drop(refused.get_or_insert(said)),
            Verdict::Unreached(said) => drop(unreached.get_or_insert(said)),
        }
    }
    match (unreached, refused) {
        (None, Some(said)) => Sent::Refused(said),
        (Some(said), _) => Sent::Unreached(said),
        (None, None) => Sent::Unreached("there is no service to send it to".into()),
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// What a service says, on one short line.
fn said(parts: [Option<String>; 2], status: StatusCode) -> String {
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let line = if parts.is_empty() { status.to_string() } else { parts.join(": ") };
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_SAID).collect()
}

/// ARC tells a refusal by its status: 460 to 475 are its own.
fn arc(status: StatusCode, body: &[u8], txid: &str) -> Verdict {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let state = text(&told, "txStatus");
    if status.is_success() {
        return match state.as_deref() {
            Some("REJECTED" | "DOUBLE_SPEND_ATTEMPTED" | "MALFORMED") => {
                Verdict::Refused(said([state.clone(), text(&told, "extraInfo")], status))
            }
            Some(_) if text(&told, "txid").is_some_and(|told| told.eq_ignore_ascii_case(txid)) => Verdict::Accepted,
            _ => Verdict::Unreached("it does not speak ARC".into()),
        };
    }
    let why = said([text(&told, "title"), text(&told, "extraInfo").or_else(|| text(&told, "detail"))], status);
    match status.as_u16() {
        400 | 422 | 460..=475 => Verdict::Refused(why),
        _ => Verdict::Unreached(why),
    }
}

/// The Merchant API puts its answer as a text into an envelope.
fn mapi(status: StatusCode, body: &[u8], txid: &str) -> Verdict {
    let envelope: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload: Value = match envelope.get("payload") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => envelope,
    };
    let why = text(&payload, "resultDescription").unwrap_or_default();
    if !status.is_success() {
        return Verdict::Unreached(said([Some(why), None], status));
    }
    let is_ours = || text(&payload, "txid").is_some_and(|told| told.eq_ignore_ascii_case(txid));
    // Sent before, by somebody: as good as taken.
    let lower = why.to_ascii_lowercase();
    let is_known = ["already in the mempool", "already known", "txn-already", "already in block chain"];
    match text(&payload, "returnResult").as_deref() {
        Some("success") if is_ours() => Verdict::Accepted,
        Some("failure") if is_known.iter().any(|known| lower.contains(known)) => Verdict::Accepted,
        Some("failure") => Verdict::Refused(said([Some(why), None], status)),
        _ => Verdict::Unreached("it does not speak the Merchant API".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TXID: &str = "ab";

    fn of(status: u16) -> StatusCode {
        StatusCode::from_u16(status).expect("a status")
    }

    #[test]
    fn answers_of_arc() {
        let verdict = |status, body: Value| arc(of(status), body.to_string().as_bytes(), TXID);
        for state in ["QUEUED", "RECEIVED", "STORED", "SEEN_ON_NETWORK", "SEEN_IN_ORPHAN_MEMPOOL", "MINED"] {
            assert_eq!(verdict(200, json!({"txid": "AB", "txStatus": state})), Verdict::Accepted, "{state}");
        }
        for state in ["REJECTED", "DOUBLE_SPEND_ATTEMPTED"] {
            let told = verdict(200, json!({"txid": TXID, "txStatus": state, "extraInfo": "a\nb"}));
            assert_eq!(told, Verdict::Refused(format!("{state}: a b")));
        }
        for body in [json!({"txid": "cd", "txStatus": "MINED"}), json!({"txid": TXID}), json!("x"), json!(null)] {
            assert!(matches!(verdict(200, body), Verdict::Unreached(_)));
        }
        for status in [400, 422, 460, 461, 465, 475] {
            assert_eq!(verdict(status, json!({"title": "no"})), Verdict::Refused("no".into()), "{status}");
        }
        for status in [401, 403, 404, 409, 429, 500, 503] {
            assert!(matches!(verdict(status, json!({})), Verdict::Unreached(_)), "{status}");
        }
        let Verdict::Refused(long) = verdict(461, json!({"title": "x".repeat(9_999)})) else { panic!("refused") };
        assert_eq!(long.len(), MOST_SAID);
    }

    #[test]
    fn answers_of_the_merchant_api() {
        let verdict = |status, payload: Value| {
            let body = json!({"payload": payload.to_string(), "encoding": "UTF-8"});
            mapi(of(status), body.to_string().as_bytes(), TXID)
        };
        assert_eq!(verdict(200, json!({"txid": TXID, "returnResult": "success"})), Verdict::Accepted);
        let known = json!({"returnResult": "failure", "resultDescription": "Transaction already in the mempool"});
        assert_eq!(verdict(200, known), Verdict::Accepted);
        let missing = json!({"returnResult": "failure", "resultDescription": "Missing inputs"});
        assert_eq!(verdict(200, missing), Verdict::Refused("Missing inputs".into()));
        for (status, payload) in
            [(200, json!({"txid": "cd", "returnResult": "success"})), (200, json!(1)), (500, json!({}))]
        {
            assert!(matches!(verdict(status, payload), Verdict::Unreached(_)));
        }
    }

    #[test]
    fn a_service_tells_no_secret() {
        let url = "https://me:secret@arc.example/base/?key=secret";
        let provider = Provider::new(Protocol::Arc, url, None, Duration::from_secs(1)).expect("an address");
        assert_eq!(format!("{provider:?}"), "Arc at arc.example");
        assert_eq!(provider.address, "https://arc.example/base");
        assert!(provider.authorization.is_some_and(|value| value.is_sensitive()));
        for url in ["", "arc.example", "ftp://arc.example", "file:///etc"] {
            assert!(Provider::new(Protocol::Arc, url, None, Duration::from_secs(1)).is_none(), "{url}");
        }
    }
}
