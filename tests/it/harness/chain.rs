//! Blocks that tests mine by SQL, with the declarations of versions in them.

use overlay::domain::spv::{
    BlockRef, Declaration, Envelope, Hash32, Header, Input, Output, Proof, Transaction, encode_hex, merkle_path,
    merkle_root, sha256d,
};
use serde_json::json;

use super::TestApp;
use super::makers::literal;

/// The best chain as the test has left it.
#[derive(Clone)]
pub(crate) struct Chain {
    tip: Hash32,
    height: i32,
    /// Makes each block another one.
    salt: u32,
}

impl Chain {
    /// The chain that the mirror has.
    pub(crate) async fn of(app: &TestApp) -> Self {
        let sql = "select hash || ' ' || height from block_headers where on_best_chain order by height desc limit 1";
        let Some(tip) = app.rows(sql).await.pop() else {
            return Self { tip: Hash32::ZERO, height: -1, salt: 0 };
        };
        let (hash, height) = tip.split_once(' ').expect("two words");
        Self { tip: hash.parse().expect("a hash"), height: height.parse().expect("a number"), salt: 0 }
    }

    pub(crate) fn tip(&self) -> Hash32 {
        self.tip
    }

    pub(crate) fn height(&self) -> i32 {
        self.height
    }

    /// Puts a block on top, with transactions that declare `versions`; answers its hash. What was declared before is
    /// declared anew.
    pub(crate) async fn mine(&mut self, app: &TestApp, versions: &[String]) -> String {
        self.salt += 1;
        let coinbase = sha256d(format!("coinbase {} {}", self.height, self.salt).as_bytes());
        let txs: Vec<Transaction> = versions.iter().map(|id| declaring(id)).collect();
        let txids: Vec<Hash32> = std::iter::once(coinbase).chain(txs.iter().map(Transaction::txid)).collect();
        let header = self.header(&txids);
        self.put(app, &header).await;
        let (hash, height) = (self.tip.to_string(), self.height);
        let row = |(index, (id, tx)): (usize, (&String, &Transaction))| {
            let (txid, raw_tx) = (txids[index + 1], encode_hex(&tx.to_bytes()));
            let envelope = literal(&json!(envelope(tx, &txids, index + 1, &header)).to_string());
            format!("('{id}', '{txid}', 0, 'DLM1', '{raw_tx}', {envelope}, '{hash}', {height})")
        };
        let rows: Vec<String> = versions.iter().zip(&txs).enumerate().map(row).collect();
        if !rows.is_empty() {
            app.sql(&format!(
                "insert into declarations (version_id, txid, vout, kind, raw_tx, envelope, block_hash, block_height) values {} \
                 on conflict (version_id) do update set txid = excluded.txid, raw_tx = excluded.raw_tx, \
                     envelope = excluded.envelope, block_hash = excluded.block_hash, block_height = excluded.block_height",
                rows.join(", ")
            ))
            .await;
        }
        hash
    }

    /// Puts a block with one transaction on top; answers its envelope, which is stored nowhere.
    pub(crate) async fn proof_of(&mut self, app: &TestApp, tx: &Transaction) -> serde_json::Value {
        self.salt += 1;
        let coinbase = sha256d(format!("coinbase {} {}", self.height, self.salt).as_bytes());
        let txids = [coinbase, tx.txid()];
        let header = self.header(&txids);
        self.put(app, &header).await;
        app.caught_up().await;
        json!(envelope(tx, &txids, 1, &header))
    }

    /// The header of a block with these transactions on top.
    fn header(&self, txids: &[Hash32]) -> Header {
        let merkle_root = merkle_root(txids).expect("leaves");
        Header { version: 1, prev_hash: self.tip, merkle_root, time: 1, bits: 0x207f_ffff, nonce: self.salt }
    }

    /// Makes it the tip.
    pub(crate) async fn put(&mut self, app: &TestApp, header: &Header) {
        (self.tip, self.height) = (header.hash(), self.height + 1);
        let (hash, height, raw) = (self.tip, self.height, encode_hex(&header.to_bytes()));
        let Header { prev_hash, merkle_root, .. } = header;
        app.sql(&format!(
            "insert into block_headers (hash, height, prev_hash, merkle_root, raw, on_best_chain) \
             values ('{hash}', {height}, '{prev_hash}', '{merkle_root}', '\\x{raw}', true)"
        ))
        .await;
    }

    /// Takes the last `depth` blocks off the best chain; answers what puts them on again.
    pub(crate) async fn take_off(&mut self, app: &TestApp, depth: i32) -> Self {
        let before = self.clone();
        let lowest = self.height - depth + 1;
        app.sql(&format!("update block_headers set on_best_chain = false where height >= {lowest} and on_best_chain"))
            .await;
        let salt = self.salt;
        *self = Self { salt, ..Self::of(app).await };
        before
    }

    /// Makes `self`, which was taken off, the best chain again.
    pub(crate) async fn put_on(&self, app: &TestApp) {
        app.sql(&format!(
            "with recursive branch as ( \
                 select hash, prev_hash from block_headers where hash = '{tip}' \
                 union all select b.hash, b.prev_hash from block_headers b join branch on b.hash = branch.prev_hash), \
             off as (update block_headers set on_best_chain = false \
                 where on_best_chain and hash not in (select hash from branch) returning 1) \
             select count(*) from off",
            tip = self.tip
        ))
        .await;
        app.sql(&format!(
            "with recursive branch as ( \
                 select hash, prev_hash from block_headers where hash = '{tip}' \
                 union all select b.hash, b.prev_hash from block_headers b join branch on b.hash = branch.prev_hash) \
             update block_headers set on_best_chain = true where not on_best_chain and hash in (select hash from branch)",
            tip = self.tip
        ))
        .await;
    }
}

/// The proof of the transaction at `index` of a block.
pub(crate) fn envelope(tx: &Transaction, txids: &[Hash32], index: usize, header: &Header) -> Envelope {
    let (txid, path) = (txids[index], merkle_path(txids, index).expect("a leaf"));
    Envelope {
        raw_tx: encode_hex(&tx.to_bytes()),
        txid: Some(txid),
        proof: Proof { txid, merkle_root: header.merkle_root, path },
        block: BlockRef::of_header(encode_hex(&header.to_bytes())),
    }
}

/// A transaction that declares the version `id`.
pub(crate) fn declaring(id: &str) -> Transaction {
    let bytes = overlay::domain::spv::decode_hex(id).expect("hex");
    let declaration = Declaration { manifest_hash: bytes.try_into().expect("32 bytes"), parents: Vec::new() };
    Transaction {
        version: 1,
        inputs: vec![Input { prev_txid: sha256d(id.as_bytes()), prev_vout: 0, script: Vec::new(), sequence: u32::MAX }],
        outputs: vec![Output { satoshis: 0, script: declaration.to_script() }],
        lock_time: 0,
    }
}
