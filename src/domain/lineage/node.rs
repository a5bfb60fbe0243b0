//! What names a job or a dataset: `dataset:<namespace>:<name>`, in which the namespace and the name may have colons of their own.

use sha2::{Digest, Sha256};

use super::event::{MAX_NAME, MAX_NAMESPACE, MAX_RUN, Named};
use crate::domain::hex::encode_hex;
use crate::error::{Error, Result};

/// Most places at which a name may be cut.
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

    /// The node identifier.
    pub fn id(&self, kind: Kind) -> String {
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
    /// What it may name, the longest namespace first: namespaces are URLs, and have more colons than names have.
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
        Ok(Self { kind, meanings: meanings(rest, ':', parameter)? })
    }
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

/// What a namespace and a name name.
///
/// # Errors
/// `bad-request` when they can name nothing.
pub fn one(namespace: &str, name: &str) -> Result<Named> {
    Ok(Named { namespace: namespace_of(namespace)?.into(), name: within(name, MAX_NAME, "name")?.into() })
}

fn within<'a>(text: &'a str, most: usize, parameter: &'static str) -> Result<&'a str> {
    if text.is_empty() || text.len() > most || text.contains('\0') {
        return Err(Error::invalid(format!("`{parameter}` must be 1 to {most} bytes, without NUL")).hint(parameter));
    }
    Ok(text)
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
    let cuts: Vec<usize> = text.match_indices(separator).map(|(at, _)| at).collect();
    if cuts.len() > MAX_CUTS {
        return refuse(format!("must have at most {MAX_CUTS} `{separator}` between and in namespace and name"));
    }
    let meaning = |at: &usize| {
        let (namespace, name) = (&text[..*at], &text[*at + separator.len_utf8()..]);
        let fits = (1..=MAX_NAMESPACE).contains(&namespace.len()) && (1..=MAX_NAME).contains(&name.len());
        fits.then(|| Named { namespace: namespace.into(), name: name.into() })
    };
    let meanings: Vec<Named> = cuts.iter().rev().filter_map(meaning).collect();
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
        let long = format!("dataset:{}", "a:".repeat(34));
        for text in
            ["", "dataset", "dataset:", "dataset:a", "dataset:a:", "dataset::a", "run:a:b", "dataset:a:b\0", &long]
        {
            assert_eq!(read(text).expect_err(text).hint_text(), Some("node"));
        }
    }

    #[test]
    fn keys_are_those_of_the_database() {
        // select public.lineage_key('a:b', 'c'), and printf '3:a:bc' | sha256sum
        let key = Named { namespace: "a:b".into(), name: "c".into() }.key();
        assert_eq!(key, "f8c329e57756e0c521ccda588185289c");
        assert_ne!(key, Named { namespace: "a".into(), name: "b:c".into() }.key());
    }
}
