//! The batches of proofs, recalls, verdicts, runs and events.

use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::Arc;

use ::dataloader::BatchFn;
use overlay_entity::ids::VersionId;

use super::{Answer, Batch, EventHash, Proven, RunId, RunsKey, VerdictKey, answers};
use crate::domain::Document;
use crate::domain::advisories::{Advisory, Target};
use crate::domain::policies::runs::{RunPage, RunsOf};
use crate::domain::spv::Declared;
use crate::flows::policy;
use crate::flows::ready::{self, Asked, Readiness};

impl BatchFn<VersionId, Answer<Proven>> for Batch {
    /// One statement for the declarations, and one for the blocks they name.
    async fn load(&mut self, keys: &[VersionId]) -> HashMap<VersionId, Answer<Proven>> {
        let found = async {
            let declared = self.app.spv.declared(&self.caller, keys).await?;
            let blocks = declared.iter().flatten().filter_map(|declared| declared.block_hash());
            let chain = self.app.spv.view(&self.caller, blocks).await?;
            let proven = |declared: Arc<Declared>| Arc::new(Proven { outcome: declared.against(&chain), declared });
            Ok(declared.into_iter().map(|declared| declared.map(proven)).collect())
        };
        answers(keys, found.await)
    }
}

impl BatchFn<Target, Answer<Vec<Advisory>>> for Batch {
    async fn load(&mut self, keys: &[Target]) -> HashMap<Target, Answer<Vec<Advisory>>> {
        let found = self.app.advisories.about(&self.caller, keys, chrono::Utc::now()).await;
        answers(keys, found.map(|said| said.into_iter().map(|said| Some(Arc::new(said))).collect()))
    }
}

impl BatchFn<VerdictKey, Answer<Readiness>> for Batch {
    /// Those that are held against the same are judged together.
    async fn load(&mut self, keys: &[VerdictKey]) -> HashMap<VerdictKey, Answer<Readiness>> {
        let mut groups: HashMap<_, Vec<VersionId>> = HashMap::new();
        for (version, policy_id, min_confs) in keys {
            groups.entry((policy_id, *min_confs)).or_default().push(*version);
        }
        let mut out = HashMap::new();
        for ((policy_id, min_confs), versions) in groups {
            let policy = policy_id.clone().map_or(policy::Asked::Default, policy::Asked::Saved);
            let asked = Asked { min_confs, policy };
            let found = ready::readinesses(&self.app, &self.caller, &versions, asked, chrono::Utc::now()).await;
            let keys: Vec<_> = versions.into_iter().map(|version| (version, policy_id.clone(), min_confs)).collect();
            out.extend(answers(&keys, found.map(|verdicts| verdicts.into_iter().map(|v| Some(Arc::new(v))).collect())));
        }
        out
    }
}

impl BatchFn<RunsKey, Answer<RunPage>> for Batch {
    /// One statement for each kind of owner and paging.
    async fn load(&mut self, keys: &[RunsKey]) -> HashMap<RunsKey, Answer<RunPage>> {
        let mut groups: HashMap<_, Vec<RunsOf>> = HashMap::new();
        for (whose, request) in keys {
            groups.entry((discriminant(whose), request)).or_default().push(whose.clone());
        }
        let mut out = HashMap::new();
        for ((_, request), whose) in groups {
            let pages = self.app.policies.runs_of(&self.caller, &whose, request).await;
            let keys: Vec<_> = whose.into_iter().map(|whose| (whose, request.clone())).collect();
            out.extend(answers(&keys, pages.map(|pages| pages.into_iter().map(Some).collect())));
        }
        out
    }
}

impl BatchFn<RunId, Answer<Document>> for Batch {
    async fn load(&mut self, keys: &[RunId]) -> HashMap<RunId, Answer<Document>> {
        let ids: Vec<String> = keys.iter().map(|id| id.0.clone()).collect();
        answers(keys, self.app.policies.evidence(&self.caller, &ids).await)
    }
}

impl BatchFn<EventHash, Answer<Document>> for Batch {
    async fn load(&mut self, keys: &[EventHash]) -> HashMap<EventHash, Answer<Document>> {
        let hashes: Vec<String> = keys.iter().map(|EventHash(hash)| hash.clone()).collect();
        answers(keys, self.app.lineage.payloads(&self.caller, &hashes).await)
    }
}
