//! Requests to others, over HTTP or HTTPS. Answers are bounded, redirects are not followed, and no error names an address: it may
//! hold a password.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ETAG, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use crate::error::{Error, Result};

type Inner = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client, made when it is first used. Cheap to clone; clones share connections.
#[derive(Clone, Default)]
pub struct Https(Arc<OnceLock<Inner>>);

/// What somebody answers.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The entity tag.
    pub etag: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Https {
    /// Sends a request to `whom`, who may answer with `most` bytes. How long that may take is the caller's to say.
    ///
    /// # Errors
    /// `unavailable`, with `whom` and what went wrong.
    pub async fn ask(&self, whom: &str, mut request: Request<Full<Bytes>>, most: usize) -> Result<Answer> {
        let agent = HeaderValue::from_static(concat!("overlay/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let answer = self.0.get_or_init(client).request(request).await.map_err(|cause| {
            let what = if cause.is_connect() { "cannot be reached" } else { "broke off" };
            Error::unavailable(format!("{whom} {what}")).because(cause)
        })?;
        let status = answer.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(Error::unavailable(format!("{whom} answers {status}: name where it leads to")));
        }
        let etag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), most).collect().await.map_err(|cause| {
            Error::unavailable(format!("{whom} broke off, or is larger than {most} bytes")).because(cause)
        })?;
        Ok(Answer { status, etag, body: body.to_bytes() })
    }
}

fn client() -> Inner {
    // The same authorities and the same cryptography as for the stores.
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(https)
}

/// User and password of an address, which are taken out of it, as a header's value.
pub fn credentials(address: &mut Url) -> Option<HeaderValue> {
    let (user, password) = (decoded(address.username()), decoded(address.password().unwrap_or_default()));
    if user.is_empty() && password.is_empty() {
        return None;
    }
    address.set_username("").and_then(|()| address.set_password(None)).ok()?;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A part of an address as it was meant.
fn decoded(text: &str) -> String {
    // As a form's value, but that `+` means itself.
    let pairs = format!("v={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
