//! What fields are given, once the variables are known. The types read their values as they do for the general executor.

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, VariableDefinition};
use async_graphql::{InputType, Value, Variables};
use async_graphql_value::Value as Given;

use super::super::page;
use super::Run;
use super::variables::fits;
use crate::domain::page::{Order, Request};

/// The operation's variables.
pub(super) struct Definitions(Vec<VariableDefinition>);

impl Definitions {
    pub(super) fn of<'a>(definitions: impl Iterator<Item = &'a VariableDefinition>) -> Self {
        Self(definitions.cloned().collect())
    }

    /// Whether what is given is what the operation declares.
    pub(super) fn fit(&self, variables: &Variables) -> bool {
        self.0.iter().all(|definition| {
            let ty = &definition.var_type.node;
            match variables.get(&definition.name.node) {
                Some(value) => fits(value, ty),
                None => ty.nullable || definition.default_value.is_some(),
            }
        })
    }

    /// The value of a variable; `Some(None)` when it was left out and has no default.
    fn value(&self, name: &str, variables: &Variables) -> Option<Option<Value>> {
        let definition = self.0.iter().find(|definition| definition.name.node == name)?;
        let default = definition.default_value.as_ref().map(|value| &value.node);
        Some(variables.get(&definition.name.node).or(default).cloned())
    }
}

/// The arguments of a field as the document has them.
pub(super) struct Arguments(Vec<(String, Given)>);

impl Arguments {
    pub(super) fn of(field: &Field) -> Self {
        Self(field.arguments.iter().map(|(name, value)| (name.node.to_string(), value.node.clone())).collect())
    }

    /// An argument as the type it must be of. `None` when it is not.
    pub(super) fn get<T: InputType>(&self, name: &str, run: Run<'_>) -> Option<T> {
        self.get_or(name, run, None)
    }

    /// As [`Self::get`]; `default` is for an argument that the document does not name, as the specification has it.
    pub(super) fn get_or<T: InputType>(&self, name: &str, run: Run<'_>, default: Option<T>) -> Option<T> {
        let value = match self.0.iter().find(|(known, _)| known == name) {
            Some((_, given)) => resolved(given, run)?,
            None if default.is_some() => return default,
            None => None,
        };
        T::parse(value).ok()
    }

    /// The page that `first`, `after`, `last` and `before` ask for.
    pub(super) fn page(&self, run: Run<'_>, order: &'static Order) -> Option<Request> {
        let arguments = page::Arguments {
            first: self.get("first", run)?,
            after: self.get("after", run)?,
            last: self.get("last", run)?,
            before: self.get("before", run)?,
        };
        arguments.request(order).ok()
    }

    /// What a list of that size costs.
    pub(super) fn cost(&self, run: Run<'_>, child: usize) -> Option<usize> {
        Some(page::cost(self.get("first", run)?, self.get("last", run)?, child))
    }
}

/// A value with its variables put in, as async-graphql does: left out in an object, `null` in a list.
fn resolved(given: &Given, run: Run<'_>) -> Option<Option<Value>> {
    Some(match given {
        Given::Variable(name) => run.definitions.value(name, run.variables)?,
        Given::List(items) => {
            let items = items.iter().map(|item| Some(resolved(item, run)?.unwrap_or(Value::Null)));
            Some(Value::List(items.collect::<Option<_>>()?))
        }
        Given::Object(fields) => {
            let mut object = IndexMap::with_capacity(fields.len());
            for (name, field) in fields {
                if let Some(value) = resolved(field, run)? {
                    object.insert(name.clone(), value);
                }
            }
            Some(Value::Object(object))
        }
        constant => Some(constant.clone().into_const()?),
    })
}
