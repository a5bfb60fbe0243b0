//! Whether variables are of the types that an operation declares. The general executor's validation looks at that on every
//! execution, not only on the first, and so must a plan: a filter that is misspelt is no filter.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};
use async_graphql::{Name, Value};

/// Types of the schema that a variable may be of.
enum Input {
    /// The values.
    Enum(HashSet<Name>),
    /// The fields' types, and whether each may be left out.
    Object(HashMap<Name, (Type, bool)>),
}

/// The schema's own input types by name. Scalars are none of them.
fn inputs() -> &'static HashMap<Name, Input> {
    static INPUTS: OnceLock<HashMap<Name, Input>> = OnceLock::new();
    INPUTS.get_or_init(|| {
        let document =
            async_graphql::parser::parse_schema(super::super::sdl()).expect("the library reads what it prints");
        let definitions = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node),
            _ => None,
        });
        let input = |kind| match kind {
            TypeKind::Enum(of) => Some(Input::Enum(of.values.into_iter().map(|v| v.node.value.node).collect())),
            TypeKind::InputObject(of) => {
                let fields = of.fields.into_iter().map(|field| {
                    let (ty, has_default) = (field.node.ty.node, field.node.default_value.is_some());
                    let may_be_absent = ty.nullable || has_default;
                    (field.node.name.node, (ty, may_be_absent))
                });
                Some(Input::Object(fields.collect()))
            }
            _ => None,
        };
        definitions.filter_map(|definition| Some((definition.name.node, input(definition.kind)?))).collect()
    })
}

/// Whether a value is of a type. What only a scalar of our own can tell is left to it.
pub(super) fn fits(value: &Value, ty: &Type) -> bool {
    if *value == Value::Null {
        return ty.nullable;
    }
    let name = match (&ty.base, value) {
        (BaseType::List(of), Value::List(items)) => return items.iter().all(|item| fits(item, of)),
        // One value stands for a list of one.
        (BaseType::List(of), _) => return fits(value, of),
        (BaseType::Named(name), _) => name,
    };
    match (inputs().get(name), value) {
        (Some(Input::Enum(values)), Value::Enum(given)) => values.contains(given),
        (Some(Input::Enum(values)), Value::String(given)) => values.contains(given.as_str()),
        (Some(Input::Object(fields)), Value::Object(given)) => {
            let is_known = |(name, value): (&Name, &Value)| fields.get(name).is_some_and(|(ty, _)| fits(value, ty));
            let is_there =
                |(name, (_, may_be_absent)): (&Name, &(Type, bool))| *may_be_absent || given.contains_key(name);
            given.iter().all(is_known) && fields.iter().all(is_there)
        }
        (Some(_), _) => false,
        (None, value) => match name.as_str() {
            "Int" => matches!(value, Value::Number(n) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok())),
            "Float" => matches!(value, Value::Number(_)),
            "String" => matches!(value, Value::String(_)),
            "Boolean" => matches!(value, Value::Boolean(_)),
            "ID" => matches!(value, Value::String(_)) || matches!(value, Value::Number(n) if n.is_i64()),
            _ => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn a_value_is_of_its_type_or_not() {
        let is =
            |ty: &str, json: Json| fits(&Value::from_json(json).expect("a value"), &Type::new(ty).expect("a type"));
        for (ty, json) in [
            ("Int", json!(null)),
            ("Int!", json!(-5)),
            ("[Int!]", json!(5)),
            ("[[Int]]", json!([[1, null], null])),
            ("String!", json!("x")),
            ("ID!", json!(5)),
            ("AssetOrder", json!("NAME_ASC")),
            ("AssetFilter!", json!({})),
            ("AssetFilter", json!({"license": {"in": ["MIT"]}, "name": null})),
            ("Hex32!", json!("whatever")),
        ] {
            assert!(is(ty, json.clone()), "{ty} {json}");
        }
        for (ty, json) in [
            ("Int!", json!(null)),
            ("Int", json!("5")),
            ("Int", json!(1.5)),
            ("Int", json!(3_000_000_000_u32)),
            ("[Int!]", json!([1, null])),
            ("String", json!(5)),
            ("Boolean", json!("true")),
            ("AssetOrder", json!("SIDEWAYS")),
            ("AssetOrder", json!(5)),
            ("AssetFilter", json!([])),
            ("AssetFilter", json!({"bogus": 1})),
            ("AssetFilter", json!({"license": {"eq": "MIT", "bogus": 1}})),
            ("AssetFilter", json!({"license": "MIT"})),
        ] {
            assert!(!is(ty, json.clone()), "{ty} {json}");
        }
    }
}
