//! The ways of a receipt are kept by the database, whoever writes.

use crate::harness::{Setup, with};

const STATES: [&str; 5] = ["pending", "paid", "confirmed", "consumed", "expired"];
const WAYS: [(&str, &str); 5] = [
    ("pending", "paid"),
    ("pending", "expired"),
    ("paid", "confirmed"),
    ("confirmed", "consumed"),
    ("confirmed", "paid"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_goes_no_other_way() {
    with(Setup::seeded(), async |app| {
        let version = app.rows("select version_id from assets order by 1 limit 1").await.remove(0);
        let mut refused = 0;
        for (n, (from, to)) in STATES.iter().flat_map(|from| STATES.map(|to| (*from, to))).enumerate() {
            let id = format!("r{n}");
            app.sql(&format!(
                "insert into receipts (receipt_id, version_id, status, unit_price_sat, amount_sat, payment_txid, expires_at) \
                 values ('{id}', '{version}', '{from}', 1, 1, '{n:064}', now())"
            ))
            .await;
            // In a session of triggers switched off, too.
            for role in ["origin", "replica"] {
                let sql = format!(
                    "do $$ begin set local session_replication_role = {role}; \
                     update receipts set status = '{to}' where receipt_id = '{id}'; \
                     raise exception 'done'; exception when others then \
                     perform set_config('test.told', sqlerrm, false); end $$"
                );
                app.sql(&sql).await;
                let told = app.rows("select current_setting('test.told')").await.remove(0);
                let is_way = from == to || WAYS.contains(&(from, to));
                let expected = if is_way { "done".to_owned() } else { format!("a receipt does not go from {from} to {to}") };
                assert_eq!(told, expected, "{role}");
                refused += usize::from(!is_way);
            }
        }
        assert_eq!(refused, 2 * (25 - 5 - 5));
    })
    .await;
}
