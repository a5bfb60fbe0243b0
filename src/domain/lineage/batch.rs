//! What several events say of the same things, gathered: each thing once, in the order of its name.
//!
//! Everything here is a join of a semilattice (a union, a least, a greatest), and so is what PostgreSQL does with the rows
//! that are there already: events may come in any order, in any number, cut into any batches.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::event::{About, Described, Event, Named, Run, State, instant};

/// A job or a dataset as events describe it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The latest of each facet that is not deleted.
    pub facets: Map<String, Value>,
    /// For each facet, also a deleted one, the version of the event it comes from.
    #[serde(rename = "facet_versions")]
    pub versions: BTreeMap<String, String>,
    /// Time of the latest event that names it.
    #[serde(rename = "latest_event_at")]
    pub latest: DateTime<Utc>,
}

impl Facts {
    fn tell(&mut self, facets: &Map<String, Value>, event: &Event, version: &str) {
        self.latest = self.latest.max(event.time);
        for (name, facet) in facets {
            if self.versions.get(name).is_some_and(|known| known.as_str() >= version) {
                continue;
            }
            self.versions.insert(name.clone(), version.to_owned());
            if facet.is_null() {
                self.facets.remove(name);
            } else {
                self.facets.insert(name.clone(), facet.clone());
            }
        }
    }
}

/// A run as events describe it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFacts {
    /// The last that happened.
    #[serde(serialize_with = "state")]
    pub state: State,
    /// What the state comes from, as text that sorts by what counts.
    pub state_version: String,
    /// When it began, as far as an event says.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What it read.
    pub inputs: BTreeSet<Named>,
    /// What it wrote.
    pub outputs: BTreeSet<Named>,
    /// Its facets.
    #[serde(flatten)]
    pub facts: Facts,
}

fn state<S: Serializer>(state: &State, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(state.as_str())
}

impl RunFacts {
    fn new() -> Self {
        Self {
            state: State::Other,
            state_version: String::new(),
            started_at: None,
            ended_at: None,
            inputs: BTreeSet::new(),
            outputs: BTreeSet::new(),
            facts: Facts::default(),
        }
    }

    fn tell(&mut self, run: &Run, event: &Event, version: &str) {
        self.facts.tell(&run.facets, event, version);
        let (rank, state, time) = (run.state.rank(), run.state.as_str(), instant(event.time));
        // At the same moment the state's name decides; then nothing but the hash can.
        let state_version = format!("{rank} {time} {state} {}", event.hash);
        if state_version > self.state_version {
            (self.state, self.state_version) = (run.state, state_version);
        }
        if run.state == State::Start {
            self.started_at = Some(self.started_at.map_or(event.time, |known| known.min(event.time)));
        }
        if rank == 2 {
            self.ended_at = Some(self.ended_at.map_or(event.time, |known| known.max(event.time)));
        }
    }
}

/// A dataset that a job makes of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Edge {
    /// What is read.
    pub from: Named,
    /// What is written.
    pub to: Named,
    /// Who does it.
    pub job: Named,
}

/// A dataset that a job reads or writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Touch {
    /// Who.
    pub job: Named,
    /// What.
    pub dataset: Named,
    /// Whether it is written.
    pub is_output: bool,
}

/// What several events say. Those of them that say it again are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The jobs.
    pub jobs: BTreeMap<Named, Facts>,
    /// The datasets.
    pub datasets: BTreeMap<Named, Facts>,
    /// The runs, by identifier and job: clients reuse an identifier.
    pub runs: BTreeMap<(String, Named), RunFacts>,
    /// What jobs do whenever they run.
    pub edges: BTreeSet<Edge>,
    /// What jobs read and write.
    pub io: BTreeSet<Touch>,
}

impl Batch {
    /// Adds what an event says.
    pub fn tell(&mut self, event: &Event) {
        let version = event.version();
        match &event.about {
            About::Dataset(dataset) => self.dataset(dataset, event, &version),
            About::Job { job, run, inputs, outputs } => {
                self.jobs.entry(job.named.clone()).or_default().tell(&job.facets, event, &version);
                for dataset in inputs.iter().chain(outputs) {
                    self.dataset(dataset, event, &version);
                }
                let names = |all: &[Described]| -> BTreeSet<Named> { all.iter().map(|d| d.named.clone()).collect() };
                let (inputs, outputs) = (names(inputs), names(outputs));
                for (datasets, is_output) in [(&inputs, false), (&outputs, true)] {
                    let touch = |dataset: &Named| Touch { job: job.named.clone(), dataset: dataset.clone(), is_output };
                    self.io.extend(datasets.iter().map(touch));
                }
                match run {
                    Some(run) => {
                        let key = (run.run_id.clone(), job.named.clone());
                        let facts = self.runs.entry(key).or_insert_with(RunFacts::new);
                        facts.tell(run, event, &version);
                        facts.inputs.extend(inputs);
                        facts.outputs.extend(outputs);
                    }
                    None => self.edges.extend(product(&inputs, &outputs, &job.named)),
                }
            }
        }
    }

    fn dataset(&mut self, dataset: &Described, event: &Event, version: &str) {
        self.datasets.entry(dataset.named.clone()).or_default().tell(&dataset.facets, event, version);
    }
}

/// Most edges of one run. What reads and writes more makes none: they would take longer to write down than anybody waits, and
/// who looks at the graph could tell nothing by them. That it reads and writes all that is known all the same ([`Batch::io`]).
pub const MAX_PAIRS: usize = 10_000;

/// The edges of a job that reads all of `inputs` and writes all of `outputs`. What it updates in place is no edge.
fn product<'a>(
    inputs: &'a BTreeSet<Named>, outputs: &'a BTreeSet<Named>, job: &'a Named,
) -> impl Iterator<Item = Edge> + 'a {
    let is_shown = inputs.len() * outputs.len() <= MAX_PAIRS;
    let pairs = inputs.iter().filter(move |_| is_shown).flat_map(move |from| outputs.iter().map(move |to| (from, to)));
    let edge = |(from, to): (&Named, &Named)| Edge { from: from.clone(), to: to.clone(), job: job.clone() };
    pairs.filter(|(from, to)| from != to).map(edge)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::read;
    use super::*;

    fn event(state: &str, minute: u32, more: Value) -> Event {
        let mut event = json!({"eventType": state, "eventTime": format!("2026-01-02T03:{minute:02}:00Z"), "producer": "p",
            "run": {"runId": "r"}, "job": {"namespace": "n", "name": "j"}});
        event.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        read(event).expect("in order")
    }

    fn gathered<'a>(events: impl IntoIterator<Item = &'a Event>) -> Batch {
        let mut batch = Batch::default();
        events.into_iter().for_each(|event| batch.tell(event));
        batch
    }

    /// All orders of few things.
    fn orders(count: usize) -> Vec<Vec<usize>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let shorter = orders(count - 1);
        let longer = |order: &Vec<usize>| {
            (0..count).map(|at| [&order[..at], &[count - 1], &order[at..]].concat()).collect::<Vec<_>>()
        };
        shorter.iter().flat_map(longer).collect()
    }

    #[test]
    fn the_order_of_events_says_nothing() {
        let dataset = |facets: Value| json!({"namespace": "n", "name": "d", "facets": facets});
        let events = [
            event("START", 1, json!({"inputs": [dataset(json!({"schema": {"v": 1}, "gone": {"v": 1}}))]})),
            event("RUNNING", 2, json!({"inputs": [dataset(json!({"gone": {"_deleted": true}}))]})),
            event("COMPLETE", 3, json!({"outputs": [{"namespace": "n", "name": "out"}]})),
            event("OTHER", 4, json!({"inputs": [dataset(json!({"schema": {"v": 2}}))]})),
            event("OTHER", 4, json!({"inputs": [dataset(json!({"schema": {"v": 3}}))]})),
        ];
        let batch = gathered(&events);
        for order in orders(events.len()) {
            // And again.
            let twice = order.iter().chain(&order).map(|at| &events[*at]);
            assert_eq!(gathered(twice), batch, "{order:?}");
        }
        let run = batch.runs.values().next().expect("a run");
        let minute = |minute: u32| Some(format!("2026-01-02T03:{minute:02}:00Z").parse().expect("a time"));
        assert_eq!((run.state, run.started_at, run.ended_at), (State::Complete, minute(1), minute(3)));
        assert_eq!((run.inputs.len(), run.outputs.len(), Some(run.facts.latest)), (1, 1, minute(4)));
        let dataset = batch.datasets.values().next().expect("a dataset");
        assert!(dataset.facets.contains_key("schema") && !dataset.facets.contains_key("gone"), "{dataset:?}");
        assert_eq!(dataset.versions.keys().collect::<Vec<_>>(), ["gone", "schema"]);
    }

    #[test]
    fn a_job_without_a_run_has_edges_of_its_own() {
        let mut said =
            json!({"eventTime": "2026-01-02T03:04:05Z", "producer": "p", "job": {"namespace": "n", "name": "j"}});
        said["inputs"] = json!([{"namespace": "n", "name": "a"}, {"namespace": "n", "name": "b"}]);
        said["outputs"] = json!([{"namespace": "n", "name": "b"}, {"namespace": "n", "name": "c"}]);
        let batch = gathered(&[read(said).expect("in order")]);
        let names: Vec<String> = batch.edges.iter().map(|edge| format!("{}{}", edge.from.name, edge.to.name)).collect();
        assert_eq!((names, batch.runs.len()), (vec!["ab".into(), "ac".into(), "bc".into()], 0));
    }
}
