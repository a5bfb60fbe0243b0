//! GraphQL: one schema over the rooms, executed by async-graphql and, for what is asked again and again, by plans of our
//! own (`direct`). Every relation goes through a loader, so a query costs at most one SQL statement
//! a level and type, whatever its breadth.

mod advisories;
mod assets;
mod cost;
mod direct;
mod documents;
mod error;
mod execute;
mod guard;
mod health;
mod identity;
mod inputs;
mod lineage;
mod lineage_events;
pub(super) mod live;
mod loaders;
mod negotiate;
mod overlap;
mod page;
mod persisted;
mod policies;
mod prices;
mod producers;
mod publish;
mod receipts;
mod relay;
mod runs;
mod scalars;
mod serve;
mod trust;
mod weigh;

use async_graphql::MergedObject;

pub use documents::Documents;
pub use live::Subscription;
pub use persisted::Persisted;
pub(super) use serve::routes;

/// The root of all queries.
#[derive(MergedObject, Default)]
pub struct Query(
    relay::RelayQuery,
    assets::AssetQuery,
    producers::ProducerQuery,
    policies::PolicyQuery,
    receipts::ReceiptQuery,
    trust::TrustQuery,
    identity::IdentityQuery,
    prices::PriceQuery,
    lineage::LineageQuery,
    lineage_events::LineageEventQuery,
    live::ChangeQuery,
    health::HealthQuery,
);

/// The root of all mutations.
#[derive(MergedObject, Default)]
pub struct Mutation(
    publish::PublishMutation,
    identity::IdentityMutation,
    policies::PolicyMutation,
    advisories::AdvisoryMutation,
    prices::PriceMutation,
    receipts::ReceiptMutation,
    lineage_events::LineageMutation,
);

/// The schema as it is executed.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// Deepest nesting of fields.
const MAX_DEPTH: usize = 15;

/// Highest cost of a query: each field costs one, a list its size times what it contains.
const MAX_COMPLEXITY: usize = 20_000;

fn unlimited() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription)
}

/// Builds the schema. It holds no state: what a request needs comes with it. One that does not introspect tells nothing of
/// itself in errors either.
pub fn schema(introspects: bool) -> Schema {
    let schema = unlimited().limit_depth(MAX_DEPTH).limit_complexity(MAX_COMPLEXITY).limit_directives(20);
    if introspects { schema.finish() } else { schema.disable_introspection().disable_suggestions().finish() }
}

/// The schema in SDL, sorted: what `schema.graphql` holds.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by();
    schema(true).sdl_with_options(options).trim_end().to_owned() + "\n"
}
