//! Bundles and readiness: evidence that holds, and verdicts that follow what changes.

mod ancestry;
mod bundle;
mod graphql;
mod live;
mod policy;
mod stranger;
mod submit;
