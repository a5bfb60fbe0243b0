//! What names a job or a dataset: `dataset:<namespace>:<name>`, in which the namespace and the name may have colons of their own.
//!
//! What is written here can be read only one way: in the name `:` is `%3A`, and `%` is `%25`, so the last colon ends the
//! namespace. People write names as they are; then every colon may be the one that ends it.

use sha2::{Digest, Sha256};

use super::event::{MAX_NAME, MAX_NAMESPACE, MAX_RUN, Named};
use crate::domain::hex::encode_hex;
use crate::domain::within;
use crate::error::{Error, Result};

/// Most places at which a name may be cut, counted from its end.
const MAX_CUTS: usize = 32;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A dataset.
    Dataset,
    /// A job.
    Job,
}

impl Kind {
    /// As node identifiers begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Job => "job",
        }
    }
}

impl Named {
    /// The key of a job or dataset: what the database's `lineage_key` makes of it.
    pub fn key(&self) -> String {
        let Self { namespace, name } = self;
        let digest = Sha256::digest(format!("{}:{namespace}{name}", namespace.len()));
        encode_hex(&digest[..16])
    }

    /// The node identifier, which names nothing else.
    pub fn id(&self, kind: Kind) -> String {
        if !self.name.contains([':', '%']) {
            return self.plain_id(kind);
        }
        let name = self.name.replace('%', "%25").replace(':', "%3A");
        format!("{}:{}:{name}", kind.as_str(), self.namespace)
    }

    /// The node identifier as other servers write it, which may name something else too.
    pub fn plain_id(&self, kind: Kind) -> String {
        format!("{}:{}:{}", kind.as_str(), self.namespace, self.name)
    }

    /// Bytes of both names.
    pub fn bytes(&self) -> usize {
        self.namespace.len() + self.name.len()
    }
}

/// A node identifier, and what it may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeId {
    /// What it says it is.
    pub kind: Kind,
    /// What it may name: first what it names as it is written here, then the longest namespace first, as namespaces are URLs,
    /// and have more colons than names have.
    pub meanings: Vec<Named>,
}

impl NodeId {
    /// Reads an identifier; `parameter` is what the client called it.
    ///
    /// # Errors
    /// `bad-request` naming the parameter, with the form.
    pub fn read(text: &str, parameter: &'static str) -> Result<Self> {
        let kinds = [Kind::Dataset, Kind::Job];
        let (kind, rest) = kinds
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.as_str())?.strip_prefix(':')?)))
            .ok_or_else(|| {
                let form = "`dataset:<namespace>:<name>` or `job:<namespace>:<name>`";
                Error::invalid(format!("`{parameter}` must be {form}")).hint(parameter)
            })?;
        let mut readings = meanings(rest, ':', parameter)?;
        if let Some(written) = readings.first().and_then(unescaped) {
            readings.insert(0, written);
        }
        Ok(Self { kind, meanings: readings })
    }
}

/// What is named if the name is escaped as in [`Named::id`]; `None` when it has no escapes.
fn unescaped(raw: &Named) -> Option<Named> {
    // The longest namespace there is ends at the last colon.
    let name = raw.name.replace("%3A", ":").replace("%25", "%");
    (name != raw.name && !raw.name.contains(':')).then(|| Named { namespace: raw.namespace.clone(), name })
}

/// The name of a namespace.
///
/// # Errors
/// `bad-request` when it can be none.
pub fn namespace_of(text: &str) -> Result<&str> {
    within(text, MAX_NAMESPACE, "namespace")
}

/// The identifier of a run.
///
/// # Errors
/// `bad-request` when it can be none.
pub fn run_id_of(text: &str) -> Result<&str> {
    within(text, MAX_RUN, "runId")
}

/// The name of a job or a dataset; `parameter` is what the client called it.
///
/// # Errors
/// `bad-request` when it can be none.
pub fn name_of<'a>(text: &'a str, parameter: &'static str) -> Result<&'a str> {
    within(text, MAX_NAME, parameter)
}

/// What a namespace and a name name.
///
/// # Errors
/// `bad-request` when they can name nothing.
pub fn one(namespace: &str, name: &str) -> Result<Named> {
    Ok(Named { namespace: namespace_of(namespace)?.into(), name: name_of(name, "name")?.into() })
}

/// What `namespace<separator>name` may mean, the longest namespace first.
///
/// # Errors
/// `bad-request` naming the parameter when it can mean nothing.
pub fn meanings(text: &str, separator: char, parameter: &'static str) -> Result<Vec<Named>> {
    let refuse = |why: String| Err(Error::invalid(format!("`{parameter}` {why}")).hint(parameter));
    if text.contains('\0') {
        return refuse("must be without NUL".into());
    }
    let cuts = text.rmatch_indices(separator).take(MAX_CUTS).map(|(at, _)| at);
    let meaning = |at: usize| {
        let (namespace, name) = (&text[..at], &text[at + separator.len_utf8()..]);
        let fits = (1..=MAX_NAMESPACE).contains(&namespace.len()) && (1..=MAX_NAME).contains(&name.len());
        fits.then(|| Named { namespace: namespace.into(), name: name.into() })
    };
    let meanings: Vec<Named> = cuts.filter_map(meaning).collect();
    if meanings.is_empty() {
        return refuse(format!(
            "must name a namespace of 1 to {MAX_NAMESPACE} bytes and, after a `{separator}`, a name of 1 to {MAX_NAME} bytes"
        ));
    }
    Ok(meanings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_may_have_colons() {
        let read = |text: &str| NodeId::read(text, "node");
        let named = |namespace: &str, name: &str| Named { namespace: namespace.into(), name: name.into() };
        let node = read("dataset:postgres://h:5432:db.t").expect("a node");
        let meanings = vec![
            named("postgres://h:5432", "db.t"),
            named("postgres://h", "5432:db.t"),
            named("postgres", "//h:5432:db.t"),
        ];
        assert_eq!(node, NodeId { kind: Kind::Dataset, meanings });
        assert_eq!(read("job:a:b").expect("a node").meanings, [named("a", "b")]);
        assert_eq!(read("dataset:a::b").expect("a node").meanings, [named("a:", "b"), named("a", ":b")]);
        let many = NodeId::read(&format!("dataset:{}a", "a:".repeat(40)), "node").expect("a node");
        assert_eq!((many.meanings.len(), many.meanings[0].namespace.len()), (32, 79));
        for text in ["", "dataset", "dataset:", "dataset:a", "dataset:a:", "dataset::a", "run:a:b", "dataset:a:b\0"] {
            assert_eq!(read(text).expect_err(text).hint_text(), Some("node"));
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        for (namespace, name) in
            [("n", "a:b"), ("n:a", "b"), ("n", "100%"), ("n%3A", "%3A"), ("n", "%253A:%"), ("a:b", "c:d")]
        {
            let named = Named { namespace: namespace.into(), name: name.into() };
            let id = named.id(Kind::Dataset);
            assert_eq!(NodeId::read(&id, "node").expect("a node").meanings[0], named, "{id}");
        }
        let read = |text: &str| NodeId::read(text, "node").expect("a node").meanings.len();
        assert_eq!((read("dataset:n:a%3Ab"), read("dataset:n:a:b"), read("dataset:n:ab")), (2, 2, 1));
    }

    #[test]
    fn keys_are_those_of_the_database() {
        // select public.lineage_key('a:b', 'c'), and printf '3:a:bc' | sha256sum
        let key = Named { namespace: "a:b".into(), name: "c".into() }.key();
        assert_eq!(key, "f8c329e57756e0c521ccda588185289c");
        assert_ne!(key, Named { namespace: "a".into(), name: "b:c".into() }.key());
    }
}
