//! A document as a plan. `None` for whatever the general executor is to do.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationType, Selection as Chosen, SelectionSet,
};
use async_graphql::{Name, Positioned};

use super::arguments::Definitions;
use super::tree::{Key, Kind, Noun, Selection};
use super::{Plan, Root, nouns};

/// The plan of a document that the general executor has validated: without that, neither its types nor its fragments'
/// cycles would be looked at by anybody.
pub(in crate::transport::graphql) fn plan(document: &ExecutableDocument) -> Option<Plan> {
    let (name, operation) = match &document.operations {
        DocumentOperations::Single(operation) => (None, &operation.node),
        DocumentOperations::Multiple(operations) if operations.len() == 1 => {
            operations.iter().next().map(|(name, operation)| (Some(name.to_string()), &operation.node))?
        }
        DocumentOperations::Multiple(_) => return None,
    };
    if operation.ty != OperationType::Query || !operation.directives.is_empty() {
        return None;
    }
    let compiler = Compiler { fragments: &document.fragments };
    let (mut roots, mut kinds) = (Vec::new(), HashSet::new());
    for (key, field) in compiler.fields(&operation.selection_set.node, "Query")? {
        let root = match field.name.node.as_str() {
            "__typename" => Root::Typename,
            name => {
                let (kind, entry) = nouns::entry(name, field, &compiler)?;
                // The general executor gathers what several fields ask for into one statement.
                if !kinds.insert(kind) {
                    return None;
                }
                Root::Field(entry)
            }
        };
        roots.push((key, root));
    }
    let definitions = Definitions::of(operation.variable_definitions.iter().map(|d| &d.node));
    Some(Plan { name, roots, definitions })
}

pub(super) struct Compiler<'d> {
    fragments: &'d HashMap<Name, Positioned<FragmentDefinition>>,
}

impl Compiler<'_> {
    /// The fields of a selection set on the object type `on`, fragments put in, each with the key it has in the answer.
    pub(super) fn fields<'a>(&'a self, set: &'a SelectionSet, on: &str) -> Option<Vec<(Key, &'a Field)>> {
        let mut fields: Vec<&Field> = Vec::new();
        self.collect(set, on, &mut fields)?;
        let mut named: Vec<(Key, &Field)> = Vec::with_capacity(fields.len());
        let mut seen: HashMap<&str, &Field> = HashMap::new();
        for field in fields {
            let name = field.response_key().node.as_str();
            match seen.get(name) {
                None => {
                    seen.insert(name, field);
                    named.push((Key::new(name), field));
                }
                // The same leaf, named again by a fragment. Objects would have to be merged.
                Some(known)
                    if known.name.node == field.name.node
                        && known.arguments.is_empty()
                        && known.selection_set.node.items.is_empty() => {}
                Some(_) => return None,
            }
        }
        Some(named)
    }

    fn collect<'a>(&'a self, set: &'a SelectionSet, on: &str, out: &mut Vec<&'a Field>) -> Option<()> {
        for item in &set.items {
            match &item.node {
                Chosen::Field(field) if field.node.directives.is_empty() => out.push(&field.node),
                Chosen::InlineFragment(fragment) if fragment.node.directives.is_empty() => {
                    let condition = fragment.node.type_condition.as_ref().map(|c| c.node.on.node.as_str());
                    if condition.is_some_and(|condition| condition != on) {
                        return None;
                    }
                    self.collect(&fragment.node.selection_set.node, on, out)?;
                }
                Chosen::FragmentSpread(spread) if spread.node.directives.is_empty() => {
                    let fragment = &self.fragments.get(&spread.node.fragment_name.node)?.node;
                    if fragment.type_condition.node.on.node != on || !fragment.directives.is_empty() {
                        return None;
                    }
                    self.collect(&fragment.selection_set.node, on, out)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// The selection of a field that answers objects of type `N`.
    pub(super) fn selection<N: Noun>(&self, field: &Field) -> Option<Selection<N>> {
        let (mut fields, mut relations, mut kinds) = (Vec::new(), Vec::new(), HashSet::new());
        for (key, field) in self.fields(&field.selection_set.node, N::NAME)? {
            let name = field.name.node.as_str();
            let kind = if name == "__typename" {
                Kind::Typename
            } else if let Some(leaf) = N::leaf(name) {
                Kind::Leaf(leaf)
            } else {
                let (kind, relation) = N::relation(name, field, self)?;
                if !kinds.insert(kind) {
                    return None;
                }
                relations.push(relation);
                Kind::Relation(relations.len() - 1)
            };
            fields.push((key, kind));
        }
        Some(Selection { fields, relations })
    }
}
