//! Keys that sign requests.

use std::sync::atomic::{AtomicU64, Ordering};

use overlay::domain::hex::encode_hex;
use overlay::domain::sessions::digest;
use reqwest::{Method, RequestBuilder};
use secp256k1::{Message, PublicKey, SecretKey, ecdsa};
use serde_json::{Value, json};

use super::TestApp;

/// A key pair.
pub(crate) struct Keys {
    secret: SecretKey,
    /// The public key, 66 hex digits.
    pub(crate) key: String,
}

impl Keys {
    /// The pair whose secret is `number` over and over.
    pub(crate) fn of(number: u8) -> Self {
        let secret = SecretKey::from_secret_bytes([number; 32]).expect("in range");
        Self { key: encode_hex(&PublicKey::from_secret_key(&secret).serialize()), secret }
    }

    /// The headers of a request signed with `nonce`.
    pub(crate) fn headers(&self, nonce: &str, body: &[u8]) -> [(&'static str, String); 3] {
        let signature = ecdsa::sign(Message::from_digest(digest(nonce, body)), &self.secret);
        let signature = encode_hex(&signature.serialize_der());
        [("x-identity-key", self.key.clone()), ("x-nonce", nonce.to_owned()), ("x-signature", signature)]
    }

    /// A request with a JSON body, signed with a nonce of its own.
    pub(crate) fn request(&self, app: &TestApp, method: Method, path: &str, body: &Value) -> RequestBuilder {
        let bytes = bytes(body);
        let headers = self.headers(&nonce(), &bytes);
        with_headers(app.http.request(method, format!("{}{path}", app.url)), headers).body(bytes)
    }

    /// What a GraphQL request answers that this key signs.
    pub(crate) async fn graphql(&self, app: &TestApp, query: &str, variables: Value) -> Value {
        let body = json!({"query": query, "variables": variables});
        let answer = self.request(app, Method::POST, "/graphql", &body).send().await.expect("answer");
        answer.json().await.expect("JSON")
    }
}

/// A nonce that no other request of this process has.
pub(crate) fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{:08}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The bytes of a JSON body; none of `null`.
pub(crate) fn bytes(body: &Value) -> Vec<u8> {
    if body.is_null() { Vec::new() } else { body.to_string().into_bytes() }
}

/// A request with these headers and a JSON body's type.
pub(crate) fn with_headers(
    request: RequestBuilder, headers: impl IntoIterator<Item = (&'static str, String)>,
) -> RequestBuilder {
    let request = request.header("content-type", "application/json");
    headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}
