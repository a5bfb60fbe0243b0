//! Reading an OpenLineage event: Run, Job and Dataset events of the specification's versions 1 and 2
//! (`https://openlineage.io/spec/2-0-2/OpenLineage.json`), as leniently as real clients need, with everything that is wrong
//! told at once.
//!
//! Required are `eventTime`, `producer`, and what the event is about. Lenient: `schemaURL` may be missing, a `runId` need not
//! be a UUID, a time without a zone is UTC, `null` stands for what is absent, and facets of any name and shape are kept.

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::canonical::canonical;
use crate::domain::hex::encode_hex;
use crate::domain::{Fault, has_nul};

/// Longest namespace, bytes.
pub(super) const MAX_NAMESPACE: usize = 512;

/// Longest name, bytes.
pub(super) const MAX_NAME: usize = 2_048;

/// Longest run identifier, bytes.
pub(super) const MAX_RUN: usize = 200;

/// Most datasets that an event reads, and that it writes.
const MAX_DATASETS: usize = 1_000;

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Something else is told of it.
    Other,
    /// It begins.
    Start,
    /// It goes on.
    Running,
    /// It was given up.
    Abort,
    /// It failed.
    Fail,
    /// It came to its end.
    Complete,
}

/// The states, and how they are spelled.
const STATES: [(State, &str); 6] = [
    (State::Other, "OTHER"),
    (State::Start, "START"),
    (State::Running, "RUNNING"),
    (State::Abort, "ABORT"),
    (State::Fail, "FAIL"),
    (State::Complete, "COMPLETE"),
];

impl State {
    /// As the specification spells it.
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("OTHER", |(_, name)| name)
    }

    /// What counts more, whatever the times: a run that ended has ended, and what else is told of it changes no state.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Start | Self::Running => 1,
            Self::Abort | Self::Fail | Self::Complete => 2,
        }
    }
}

/// A job or a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Named {
    /// 1…512 bytes.
    pub namespace: String,
    /// 1…2,048 bytes.
    pub name: String,
}

/// A job or a dataset, and what the event says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Which.
    pub named: Named,
    /// Facets by name. `null` for one that the event deletes.
    pub facets: Map<String, Value>,
}

/// A run, and what the event says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// 1…200 bytes.
    pub run_id: String,
    /// What happened.
    pub state: State,
    /// Facets by name.
    pub facets: Map<String, Value>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    /// A job, or a run of it.
    Job {
        /// The job.
        job: Described,
        /// The run; `None` for what holds whenever the job runs.
        run: Option<Run>,
        /// What it reads.
        inputs: Vec<Described>,
        /// What it writes.
        outputs: Vec<Described>,
    },
    /// A dataset.
    Dataset(Described),
}

/// An event that was found in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// SHA-256 of the canonical JSON, 64 hex digits: the same event again is the same.
    pub hash: String,
    /// `eventTime`, to the microsecond.
    pub time: DateTime<Utc>,
    /// What it is about.
    pub about: About,
    /// The event as it came.
    pub payload: Value,
}

impl Event {
    /// Where it stands in history, as text that sorts so: of two that say something else of the same facet, the later one is
    /// believed, and of two at the same time the one with the greater hash, whichever arrives first.
    pub fn version(&self) -> String {
        format!("{} {}", instant(self.time), self.hash)
    }
}

/// A time as text of always the same length.
pub(super) fn instant(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads an event.
///
/// # Errors
/// Everything wrong with it.
pub fn read(payload: Value) -> Result<Event, Vec<Fault>> {
    let mut reader = Reader::default();
    let read = reader.event(&payload);
    match read {
        Some((time, about)) if reader.faults.is_empty() => {
            let hash = encode_hex(&Sha256::digest(canonical(&payload, &[])));
            Ok(Event { hash, time, about, payload })
        }
        _ => Err(reader.faults),
    }
}

#[derive(Default)]
struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault<T>(&mut self, pointer: &str, rule: impl Into<String>) -> Option<T> {
        self.faults.push(Fault { pointer: pointer.to_owned(), rule: rule.into() });
        None
    }

    fn event(&mut self, payload: &Value) -> Option<(DateTime<Utc>, About)> {
        let Value::Object(top) = payload else { return self.fault("", "must be an object") };
        if has_nul(payload) {
            return self.fault("", "must not hold the character NUL");
        }
        let time = self.time(top.get("eventTime"));
        let _named = self.text("/producer", top.get("producer"), usize::MAX);
        let present = |name: &str| top.get(name).filter(|value| !value.is_null());
        let about = match (present("run"), present("job"), present("dataset")) {
            (run, Some(job), _) => self.job(top, run, job),
            (Some(_), None, _) => self.fault("/job", "is required beside `run`"),
            (None, None, Some(dataset)) => self.described("/dataset", dataset).map(About::Dataset),
            (None, None, None) => self.fault("", "must have `run` and `job`, or `job`, or `dataset`"),
        };
        Some((time?, about?))
    }

    fn job(&mut self, top: &Map<String, Value>, run: Option<&Value>, job: &Value) -> Option<About> {
        let state = self.state(top.get("eventType"));
        let run = run.map(|run| {
            let facets = self.facets("/run/facets", run.get("facets"));
            let run_id = self.text("/run/runId", run.get("runId"), MAX_RUN);
            Some(Run { run_id: run_id?, state: state?, facets: facets? })
        });
        let job = self.described("/job", job);
        let inputs = self.datasets("inputs", top.get("inputs"));
        let outputs = self.datasets("outputs", top.get("outputs"));
        let run = match run {
            Some(run) => Some(run?),
            None => None,
        };
        Some(About::Job { job: job?, run, inputs: inputs?, outputs: outputs? })
    }

    fn time(&mut self, given: Option<&Value>) -> Option<DateTime<Utc>> {
        let rule = "must be a date and time as RFC 3339 has them, of the years 1 to 9999";
        let Some(Value::String(text)) = given else { return self.fault("/eventTime", rule) };
        let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
        let local = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc());
        let time = zoned.or_else(local).filter(|time| (1..=9_999).contains(&time.year()));
        // To the microsecond, which is what PostgreSQL keeps.
        match time.and_then(|time| DateTime::from_timestamp_micros(time.timestamp_micros())) {
            Some(time) => Some(time),
            None => self.fault("/eventTime", rule),
        }
    }

    fn state(&mut self, given: Option<&Value>) -> Option<State> {
        match given {
            None | Some(Value::Null) => return Some(State::Other),
            Some(Value::String(text)) => {
                if let Some((state, _)) = STATES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
                    return Some(*state);
                }
            }
            Some(_) => {}
        }
        let names: Vec<&str> = STATES.iter().map(|(_, name)| *name).collect();
        self.fault("/eventType", format!("must be one of {}", names.join(", ")))
    }

    fn text(&mut self, pointer: &str, given: Option<&Value>, most: usize) -> Option<String> {
        match given {
            Some(Value::String(text)) if !text.is_empty() && text.len() <= most => Some(text.clone()),
            _ if most == usize::MAX => self.fault(pointer, "must be a text, and not empty"),
            _ => self.fault(pointer, format!("must be a text of 1 to {most} bytes")),
        }
    }

    fn facets(&mut self, pointer: &str, given: Option<&Value>) -> Option<Map<String, Value>> {
        match given {
            None | Some(Value::Null) => Some(Map::new()),
            Some(Value::Object(facets)) => {
                let is_deleted = |facet: &Value| facet.get("_deleted") == Some(&Value::Bool(true));
                let kept = facets.iter().filter(|(_, facet)| !facet.is_null());
                Some(
                    kept.map(|(name, facet)| {
                        (name.clone(), if is_deleted(facet) { Value::Null } else { facet.clone() })
                    })
                    .collect(),
                )
            }
            Some(_) => self.fault(pointer, "must be an object"),
        }
    }

    fn described(&mut self, pointer: &str, given: &Value) -> Option<Described> {
        let namespace = self.text(&format!("{pointer}/namespace"), given.get("namespace"), MAX_NAMESPACE);
        let name = self.text(&format!("{pointer}/name"), given.get("name"), MAX_NAME);
        let facets = self.facets(&format!("{pointer}/facets"), given.get("facets"));
        Some(Described { named: Named { namespace: namespace?, name: name? }, facets: facets? })
    }

    fn datasets(&mut self, side: &str, given: Option<&Value>) -> Option<Vec<Described>> {
        match given {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(items)) if items.len() <= MAX_DATASETS => {
                let found = items.iter().enumerate().map(|(at, item)| self.described(&format!("/{side}/{at}"), item));
                // Each is looked at, whatever is wrong with those before.
                found.collect::<Vec<_>>().into_iter().collect()
            }
            Some(_) => self.fault(&format!("/{side}"), format!("must be a list of at most {MAX_DATASETS} datasets")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run_event() -> Value {
        json!({
            "eventType": "COMPLETE", "eventTime": "2026-01-02T03:04:05.123456789+02:00", "producer": "https://p",
            "run": {"runId": "r", "facets": {"a": {"x": 1}, "gone": null}},
            "job": {"namespace": "n", "name": "j", "facets": {"old": {"_deleted": true}}},
            "inputs": [{"namespace": "n", "name": "in"}], "outputs": null,
        })
    }

    fn pointers(event: Value) -> Vec<String> {
        read(event).expect_err("refused").into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_run_event_is_read() {
        let event = read(run_event()).expect("in order");
        assert_eq!(event.version(), format!("2026-01-02T01:04:05.123456Z {}", event.hash));
        let About::Job { job, run: Some(run), inputs, outputs } = event.about else { panic!("a run") };
        assert_eq!(
            (run.run_id.as_str(), run.state, run.facets),
            ("r", State::Complete, [("a".into(), json!({"x": 1}))].into_iter().collect())
        );
        assert_eq!((job.facets["old"].clone(), inputs.len(), outputs.len()), (Value::Null, 1, 0));
        // The same in another order is the same event.
        let text = serde_json::to_string(&run_event()).expect("JSON").replace("\"eventType\":\"COMPLETE\",", "");
        let moved = text.replacen('{', "{\"eventType\":\"COMPLETE\",", 1);
        assert_eq!(read(serde_json::from_str(&moved).expect("JSON")).expect("in order").hash, event.hash);
    }

    #[test]
    fn what_clients_do_is_taken() {
        for (name, value) in [
            ("schemaURL", json!(null)),
            ("eventType", json!(null)),
            ("eventType", json!("running")),
            ("eventTime", json!("2021-11-03T10:53:52.427343")),
            ("inputs", json!(null)),
            ("run", json!({"runId": "not a uuid"})),
            ("run", json!(null)),
            ("unheardOf", json!([1])),
        ] {
            let mut event = run_event();
            event[name] = value.clone();
            assert!(read(event).is_ok(), "{name} {value}");
        }
        let dataset =
            json!({"eventTime": "2026-01-02T03:04:05Z", "producer": "p", "dataset": {"namespace": "n", "name": "d"}});
        assert!(matches!(read(dataset).expect("in order").about, About::Dataset(_)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (name, value, pointer) in [
            ("eventTime", json!("{{ any }}"), "/eventTime"),
            ("eventTime", json!("+10000-01-01T00:00:00Z"), "/eventTime"),
            ("eventTime", json!(5), "/eventTime"),
            ("eventType", json!("DONE"), "/eventType"),
            ("eventType", json!({}), "/eventType"),
            ("producer", json!(null), "/producer"),
            ("job", json!(null), "/job"),
            ("job", json!({"name": "j"}), "/job/namespace"),
            ("job", json!({"namespace": "n", "name": "x".repeat(2_049)}), "/job/name"),
            ("run", json!({"runId": ""}), "/run/runId"),
            ("run", json!({"runId": "r", "facets": []}), "/run/facets"),
            ("inputs", json!({}), "/inputs"),
            ("outputs", json!([{"namespace": "n", "name": "d"}, {"namespace": "n"}]), "/outputs/1/name"),
            ("odd", json!("a\u{0}b"), ""),
        ] {
            let mut event = run_event();
            event[name] = value.clone();
            assert_eq!(pointers(event), [pointer], "{name} {value}");
        }
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({})), ["/eventTime", "/producer", ""]);
    }
}
