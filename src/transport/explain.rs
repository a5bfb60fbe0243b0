//! How an answer came about, for administrators: `Overlay-Explain: 1` with a read has it told in a header of the answer.
//!
//! The request is looked up as anybody's would be, without moving anything, and then answered as anybody's is: what is kept is what
//! would be kept without the question, and the explanation is no part of it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, request};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Finished;
use super::asked::Asked;
use super::caller::may_explain;
use super::front::{FORWARDED_FOR, Front};
use super::origin::X_CACHE;
use super::surrogate::{self, SURROGATE_KEY};
use crate::cache::Found;
use crate::coherence::{Clock, Tag};
use crate::error::{Error, Kind};

/// The header that asks, and that tells.
pub(super) const EXPLAIN: &str = "overlay-explain";

/// Most tags that are told, so that proxies let the header through.
const MOST: usize = 40;

/// The answer to a request that asks how it comes about.
pub(super) async fn answer(mut front: Front, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let forwarded_for = parts.headers.get(FORWARDED_FOR).map(HeaderValue::as_bytes);
    if let Err(why) = front.knock(parts.uri.path(), forwarded_for) {
        return front.turn_away(Request::from_parts(parts, body), why).await;
    }
    let Ok(body) = axum::body::to_bytes(body, front.http().body_limit).await else {
        let message = "the body is larger than BODY_SIZE_LIMIT, or broke off";
        let why = Error::new(Kind::PayloadTooLarge, "payload-too-large", message);
        return front.turn_away(Request::from_parts(parts, Body::empty()), why).await;
    };
    if let Err(why) = may_explain(front.served(), &mut parts.headers, &body).await {
        return front.turn_away(Request::from_parts(parts, Body::empty()), why).await;
    }
    parts.headers.remove(EXPLAIN);
    let mut told = look(&front, &parts, &body).await;
    let mut response = front.answer(Request::from_parts(parts, Body::from(body))).await;
    if told["layer"] == "none" {
        made(&mut told, response.headers());
    }
    let headers = response.headers_mut();
    // What is told is for who asked: a cache in between would hand it to everybody.
    if let Some(others) = headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store")) {
        told["cacheControl"] = json!(others.to_str().ok());
    }
    if let Ok(value) = HeaderValue::from_bytes(told.to_string().as_bytes()) {
        headers.insert(HeaderName::from_static(EXPLAIN), value);
    }
    response
}

/// What an answer that was made for the request tells of itself.
fn made(told: &mut Value, headers: &HeaderMap) {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    told["parts"] = json!(text(&X_CACHE));
    told["isKept"] = json!(text(&SURROGATE_KEY).is_some());
    tell(told, "tags", text(&SURROGATE_KEY).map(surrogate::tags));
}

/// Which layer has a finished answer that can be served, and why those before it have none.
async fn look(front: &Front, parts: &request::Parts, body: &Bytes) -> Value {
    let served = front.served();
    let none = |why: &str| json!({"layer": "none", "why": why});
    let Some(asked) = Asked::of(parts) else { return none("never-kept") };
    let Some(consistency) = asked.consistency(served.http.consistency) else { return none("never-kept") };
    if served.app.feed.reach(consistency).await.is_err() {
        return none("not-fresh-enough");
    }
    let clock = served.app.cache.clock();
    if !clock.is_trustworthy() {
        return none("feed-too-old");
    }
    let found = served.answers.look(&asked.digest(body, &served.http, served.settings)).await;
    let mut told = json!({"layer": "none"});
    let mut tried = Vec::new();
    for (layer, found) in ["memory", "redis"].into_iter().zip(found) {
        let is_there = |layer: &str| layer == "memory" || served.app.cache.redis().is_some_and(|r| r.is_connected());
        let (why, found) = match &found {
            None if is_there(layer) => ("absent", None),
            None => ("away", None),
            Some(found) => (standing(clock, found), Some(found)),
        };
        let mut one = json!({"layer": layer});
        if let Some(found) = found {
            describe(&mut one, clock, found);
        }
        if why == "good" {
            one["tried"] = tried.into();
            return one;
        }
        one["why"] = json!(why);
        tried.push(one);
    }
    told["why"] = tried[0]["why"].clone();
    told["tried"] = tried.into();
    told
}

fn standing(clock: &Clock, found: &Found<Finished>) -> &'static str {
    match found.is_valid {
        false if found.kept.moment().epoch != clock.moment().epoch => "epoch",
        false => "changed",
        true if found.kept.age().1.is_zero() => "expired",
        true => "good",
    }
}

fn describe(told: &mut Value, clock: &Clock, found: &Found<Finished>) {
    let ((age, left), moment) = (found.kept.age(), found.kept.moment());
    told["asOf"] = json!(moment.as_of);
    told["epoch"] = json!(moment.epoch.to_string());
    told["ageMs"] = json!(age.as_millis() as u64);
    told["ttlMs"] = json!(left.as_millis() as u64);
    let tags = found.kept.answer.tags();
    if !found.is_valid {
        let has_changed = |tag: &String| clock.has_changed(moment, &Tag::new(tag.as_str()));
        tell(told, "changed", tags.clone().map(|tags| tags.into_iter().filter(has_changed).collect()));
    }
    tell(told, "tags", tags);
}

/// Tells tags, as many as there is room for, and how many there are.
fn tell(told: &mut Value, name: &str, tags: Option<Vec<String>>) {
    let Some(mut tags) = tags else { return };
    if tags.len() > MOST {
        told[format!("{name}Total")] = json!(tags.len());
        tags.truncate(MOST);
    }
    told[name] = json!(tags);
}
