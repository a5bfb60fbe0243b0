//! Bundles and readiness: evidence that holds, and verdicts that follow what changes.

mod ancestry;
mod bundle;
mod graphql;
mod headers;
mod live;
mod policy;
mod stranger;
mod submit;
