//! Rows that tests make by SQL, and the randomness they choose by.

use super::TestApp;

/// Assets to insert; each field is an SQL expression over `n`, which counts from 1.
pub(crate) struct Made<'a> {
    pub(crate) count: u32,
    /// Names this lot: its versions differ from those of another lot.
    pub(crate) lot: &'a str,
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) updated_at: &'a str,
    /// The policy object, JSON.
    pub(crate) policy: &'a str,
    pub(crate) producer: &'a str,
}

impl Default for Made<'_> {
    fn default() -> Self {
        Self {
            count: 1,
            lot: "made",
            name: "'made ' || n",
            description: "''",
            updated_at: "now()",
            policy: "'{}'::jsonb",
            producer: "'prd_made'",
        }
    }
}

impl Made<'_> {
    /// Inserts them; the producer `prd_made` comes into being with the first.
    pub(crate) async fn insert(&self, app: &TestApp) {
        let Self { count, lot, name, description, updated_at, policy, producer } = self;
        app.sql(
            "insert into producers (producer_id, identity_key, display_name) \
             values ('prd_made', '02' || repeat('ab', 32), 'Made for tests') on conflict do nothing",
        )
        .await;
        let (id, manifest) = (made_id(lot), made_manifest(lot));
        let sql = format!(
            "insert into assets (version_id, dataset_id, producer_id, name, description, content_hash, manifest_hash, \
                 manifest, policy_meta, created_at, updated_at) \
             select {id}, 'made-' || (n % 7), {producer}, {name}, {description}, repeat('00', 32), {id}, {manifest}::jsonb, {policy}, \
                 {updated_at}, {updated_at} \
             from generate_series(1, {count}) as n"
        );
        assert_eq!(app.sql(&sql).await, u64::from(*count));
    }
}

/// SQL for the canonical manifest of the `n`-th version of a lot.
fn made_manifest(lot: &str) -> String {
    format!("('{{\"name\":\"{lot} ' || n || '\"}}')")
}

/// SQL for the identifier of the `n`-th version of a lot.
pub(crate) fn made_id(lot: &str) -> String {
    format!("encode(sha256(convert_to({}, 'UTF8')), 'hex')", made_manifest(lot))
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Random choices that can be made again: the seed is told when the test fails, and `OVERLAY_TEST_SEED` sets it.
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let given = std::env::var("OVERLAY_TEST_SEED").ok().map(|s| s.parse().expect("OVERLAY_TEST_SEED is a number"));
        let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        Self { seed, state: seed }
    }

    /// The next number (splitmix64, Steele et al. 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to choose the same again: OVERLAY_TEST_SEED={}", self.seed);
        }
    }
}
