//! A header source behind a URL.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use hyper::{Request, StatusCode};
use url::Url;

use super::MAX_BYTES;
use crate::error::{Error, Result};
use crate::https::{Https, credentials};

const SOURCE: &str = "the header source";

/// The source, and the connection to it.
pub(super) struct Remote {
    /// Without user and password; `None` when the address cannot be read.
    address: Option<Url>,
    authorization: Option<HeaderValue>,
    https: Https,
}

impl Remote {
    pub(super) fn new(url: &str, https: Https) -> Self {
        let mut address = Url::parse(url).ok();
        let authorization = address.as_mut().and_then(credentials);
        Self { address, authorization, https }
    }

    /// The bytes and their entity tag, unless they are those of the tag that was seen. No error names the address.
    pub(super) async fn fetch(&self, seen: &super::Seen) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let absent = || Error::unavailable("the header source is no address");
        let mut request = Request::get(self.address.as_ref().ok_or_else(absent)?.as_str());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(etag) = &seen.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = request.body(Full::<Bytes>::default()).map_err(|_| absent())?;
        let answer = self.https.ask(SOURCE, request, MAX_BYTES).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(None),
            StatusCode::OK => Ok(Some((answer.body.into(), answer.etag))),
            status => Err(Error::unavailable(format!("{SOURCE} answers {status}"))),
        }
    }
}
