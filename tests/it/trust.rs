//! Bundles and readiness: evidence that holds, and verdicts that follow what changes.

mod advisories;
mod altered;
mod ancestry;
mod bundle;
mod graphql;
mod headers;
mod herd;
mod live;
mod mutations;
mod policy;
mod stranger;
mod submit;
mod verdicts;
