//! What a document costs, and which of its fields make it so, for who asks with `extensions: {"cost": true}`: also of one
//! that is refused for it.
//!
//! The library reckons the cost of a document alone. That of a field is what the document would cost if it selected nothing
//! else: with the lists around it counted as often as they may be long. Fields are told from the top down, at most
//! [`MOST`]: each is validated by itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, InlineFragment, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Request, ServerError, ValidationResult, Value, Variables, async_trait};
use async_graphql_value::Value as Given;

use super::{MAX_COMPLEXITY, MAX_DEPTH, Schema};

/// Most fields that are told of.
const MOST: usize = 30;

/// Where a validation leaves what it found.
type Reckoned = Arc<OnceLock<ValidationResult>>;

/// Ends every execution after its validation.
struct Reckoning;

impl ExtensionFactory for Reckoning {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Reckoning {
    async fn validation(
        &self, ctx: &ExtensionContext<'_>, next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let found = next.run(ctx).await?;
        let _once = ctx.data_unchecked::<Reckoned>().set(found);
        Err(vec![ServerError::new("reckoned, not executed", None)])
    }
}

/// The schema without limits, and without execution.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| super::unlimited().extension(Reckoning).finish())
}

/// `{total, limit, depth, depthLimit, fields}`, the latter the cost of each by its path of response keys. `None` for a
/// document that is not valid, which is told anyway.
pub(super) async fn told(
    document: &ExecutableDocument, operation: Option<&str>, variables: &Variables,
) -> Option<Value> {
    let (name, operation) = match (&document.operations, operation) {
        (DocumentOperations::Single(operation), _) => (None, &operation.node),
        (DocumentOperations::Multiple(all), None) if all.len() == 1 => {
            all.iter().next().map(|(n, o)| (Some(n), &o.node))?
        }
        (DocumentOperations::Multiple(all), Some(wanted)) => {
            all.iter().find(|(name, _)| *name == wanted).map(|(n, o)| (Some(n), &o.node))?
        }
        (DocumentOperations::Multiple(_), None) => return None,
    };
    let whole = reckon(document.clone(), name, variables).await?;
    let mut fields = IndexMap::new();
    for (path, chain) in paths(document, &operation.selection_set.node) {
        let alone = alone(document, operation, &chain);
        // One that an interface's fragment would make ambiguous alone is left out.
        if let Some(found) = reckon(alone, None, variables).await {
            fields.insert(Name::new(path), Value::from(found.complexity as u64));
        }
    }
    let number = |number: usize| Value::from(number as u64);
    Some(Value::Object(IndexMap::from_iter([
        (Name::new("total"), number(whole.complexity)),
        (Name::new("limit"), number(MAX_COMPLEXITY)),
        (Name::new("depth"), number(whole.depth)),
        (Name::new("depthLimit"), number(MAX_DEPTH)),
        (Name::new("fields"), Value::Object(fields)),
    ])))
}

async fn reckon(document: ExecutableDocument, name: Option<&Name>, variables: &Variables) -> Option<ValidationResult> {
    let reckoned = Reckoned::default();
    let mut request = Request::new("").variables(variables.clone()).data(reckoned.clone());
    if let Some(name) = name {
        request = request.operation_name(name.as_str());
    }
    request.set_parsed_query(document);
    super::execute::settle_variables(&mut request).ok()?;
    let _refused = schema().execute(request).await;
    reckoned.get().copied()
}

/// What leads to a field: the selections around it, from the outside in, and at last the field.
type Chain<'d> = Vec<Step<'d>>;

#[derive(Clone, Copy)]
enum Step<'d> {
    Field(&'d Field),
    /// A fragment, by the type that it is on.
    On(Option<&'d Name>),
}

/// The first fields from the top down, each with its path.
fn paths<'d>(document: &'d ExecutableDocument, root: &'d SelectionSet) -> Vec<(String, Chain<'d>)> {
    let mut out: Vec<(String, Chain<'d>)> = Vec::new();
    let mut waiting = VecDeque::from([(String::new(), Chain::new(), root)]);
    while let Some((path, chain, set)) = waiting.pop_front() {
        for item in &set.items {
            let longer = |step| chain.iter().copied().chain([step]).collect::<Chain<'d>>();
            match &item.node {
                Selection::Field(field) => {
                    if out.len() == MOST {
                        return out;
                    }
                    let key = field.node.response_key().node.as_str();
                    let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                    let chain = longer(Step::Field(&field.node));
                    waiting.push_back((path.clone(), chain.clone(), &field.node.selection_set.node));
                    out.push((path, chain));
                }
                Selection::InlineFragment(fragment) => {
                    let on = fragment.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    waiting.push_front((path.clone(), longer(Step::On(on)), &fragment.node.selection_set.node));
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) else { continue };
                    let on = Some(&fragment.node.type_condition.node.on.node);
                    waiting.push_front((path.clone(), longer(Step::On(on)), &fragment.node.selection_set.node));
                }
            }
        }
    }
    out
}

/// The document that selects nothing but the last field of a chain, with all below it.
fn alone(document: &ExecutableDocument, operation: &OperationDefinition, chain: &Chain<'_>) -> ExecutableDocument {
    let mut set: Option<SelectionSet> = None;
    for step in chain.iter().rev() {
        let item = match (step, set.take()) {
            (Step::Field(field), None) => {
                let mut field = (*field).clone();
                field.selection_set.node = written_out(document, &field.selection_set.node);
                Selection::Field(nowhere(field))
            }
            (Step::Field(field), Some(inner)) => {
                let selection_set = nowhere(inner);
                Selection::Field(nowhere(Field { selection_set, ..(*field).clone() }))
            }
            (Step::On(on), inner) => fragment(*on, inner.unwrap_or(SelectionSet { items: Vec::new() })),
        };
        set = Some(SelectionSet { items: vec![nowhere(item)] });
    }
    let mut operation = operation.clone();
    operation.selection_set = nowhere(set.unwrap_or(SelectionSet { items: Vec::new() }));
    let mut used = HashSet::new();
    name_variables(&operation.selection_set.node, &mut used);
    // A variable that is not used is refused.
    operation.variable_definitions.retain(|definition| used.contains(&definition.node.name.node));
    ExecutableDocument { operations: DocumentOperations::Single(nowhere(operation)), fragments: HashMap::new() }
}

/// The variables of a selection set without fragment spreads.
fn name_variables(set: &SelectionSet, out: &mut HashSet<Name>) {
    fn of_value(value: &Given, out: &mut HashSet<Name>) {
        match value {
            Given::Variable(name) => drop(out.insert(name.clone())),
            Given::List(items) => items.iter().for_each(|item| of_value(item, out)),
            Given::Object(fields) => fields.values().for_each(|field| of_value(field, out)),
            _ => {}
        }
    }
    for item in &set.items {
        let (directives, inner) = match &item.node {
            Selection::Field(field) => {
                field.node.arguments.iter().for_each(|(_, value)| of_value(&value.node, out));
                (&field.node.directives, &field.node.selection_set.node)
            }
            Selection::InlineFragment(fragment) => (&fragment.node.directives, &fragment.node.selection_set.node),
            Selection::FragmentSpread(_) => continue,
        };
        let arguments = directives.iter().flat_map(|directive| &directive.node.arguments);
        arguments.for_each(|(_, value)| of_value(&value.node, out));
        name_variables(inner, out);
    }
}

/// A selection set with its fragments written out. The weight of the document, which is checked before, bounds it.
fn written_out(document: &ExecutableDocument, set: &SelectionSet) -> SelectionSet {
    let item = |item: &Positioned<Selection>| match &item.node {
        Selection::Field(field) => {
            let mut field = field.clone();
            field.node.selection_set.node = written_out(document, &field.node.selection_set.node);
            nowhere(Selection::Field(field))
        }
        Selection::InlineFragment(inner) => {
            let on = inner.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
            nowhere(fragment(on, written_out(document, &inner.node.selection_set.node)))
        }
        Selection::FragmentSpread(spread) => match document.fragments.get(&spread.node.fragment_name.node) {
            Some(found) => {
                let on = Some(&found.node.type_condition.node.on.node);
                nowhere(fragment(on, written_out(document, &found.node.selection_set.node)))
            }
            None => item.clone(),
        },
    };
    SelectionSet { items: set.items.iter().map(item).collect() }
}

fn fragment(on: Option<&Name>, set: SelectionSet) -> Selection {
    let type_condition = on.map(|on| nowhere(async_graphql::parser::types::TypeCondition { on: nowhere(on.clone()) }));
    Selection::InlineFragment(nowhere(InlineFragment {
        type_condition,
        directives: Vec::new(),
        selection_set: nowhere(set),
    }))
}

/// Something that was not read from anywhere.
fn nowhere<T>(node: T) -> Positioned<T> {
    Positioned::new(node, async_graphql::Pos::default())
}
