//! A header source behind a URL.

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use super::MAX_BYTES;
use crate::error::{Error, Result};

/// The source, and the connection to it.
pub(super) struct Remote {
    /// Without user and password; `None` when the address cannot be read.
    address: Option<Url>,
    authorization: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Remote {
    pub(super) fn new(url: &str) -> Self {
        // The same authorities and the same cryptography as for the stores.
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https =
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(https);
        let mut address = Url::parse(url).ok();
        let authorization = address.as_mut().and_then(credentials);
        Self { address, authorization, client }
    }

    /// The bytes and their entity tag, unless they are those of the tag that was seen. No error names the address.
    pub(super) async fn fetch(&self, seen: &super::Seen) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let address = self.address.as_ref().ok_or_else(|| Error::unavailable("the header source is no address"))?;
        let mut request =
            Request::get(address.as_str()).header(USER_AGENT, concat!("overlay/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(etag) = &seen.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = request.body(Empty::new()).map_err(|_| Error::unavailable("the header source is no address"))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|cause| {
            let what = if cause.is_connect() { "cannot be reached" } else { "broke off" };
            Error::unavailable(format!("the header source {what}")).because(cause)
        })?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => return Ok(None),
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(Error::unavailable(format!("the header source answers {status}: name where it leads to")));
            }
            status => return Err(Error::unavailable(format!("the header source answers {status}"))),
        }
        let etag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|cause| {
            Error::unavailable("the header source broke off, or is larger than 512 MiB").because(cause)
        })?;
        Ok(Some((body.to_bytes().into(), etag)))
    }
}

/// User and password of an address, which are taken out of it.
fn credentials(address: &mut Url) -> Option<HeaderValue> {
    let plain = |text: &str| decoded(text);
    let (user, password) = (plain(address.username()), plain(address.password().unwrap_or_default()));
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
