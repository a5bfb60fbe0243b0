//! Whatever changes a row is heard: all kinds of statement on all tables.

mod rows;
mod walker;

use crate::harness::{Setup, with};

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_on_every_table_is_in_the_feed() {
    with(Setup::empty(), async |app| {
        let (unheard, trials) = walker::walk(app).await;
        assert!(unheard.is_empty(), "{} of {trials} are not heard of:\n{}", unheard.len(), unheard.join("\n"));
        assert!(trials > 200, "only {trials} statements were tried");
    })
    .await;
}

/// The walk above can fail: it names the table and the statement when a trigger is off or gone, or a table is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_heard_is_named() {
    with(Setup::empty(), async |app| {
        app.sql("alter table policies disable trigger feed_update").await;
        app.sql("drop trigger feed_delete on declarations").await;
        app.sql("alter table assets enable trigger feed_insert").await;
        app.sql("drop trigger feed_truncate on lineage_jobs").await;
        app.sql("create table stray (id int)").await;
        let (unheard, _) = walker::walk(app).await;
        let named: Vec<&str> = unheard.iter().map(|u| u.split(": the feed").next().expect("a part")).collect();
        let wanted = [
            "assets: insert in the replica role",
            "declarations: delete",
            "declarations: delete of many",
            "declarations: merge that deletes",
            "declarations: delete in the replica role",
            "lineage_jobs: truncate",
            "policies: upsert",
            "policies: update",
            "policies: update in a CTE",
            "policies: update in a block",
            "policies: update of many",
            "policies: merge",
            "policies: update in the replica role",
            "stray: neither covered by the feed nor named as not covered",
            "declarations: cascade from assets",
        ];
        assert_eq!(named, wanted);
    })
    .await;
}

/// What a read shows after each kind of statement must be what SQL shows.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_statement_is_heard() {
    with(Setup::seeded(), async |app| {
        let statements = [
            "update assets set name = 'A1' where name = (select min(name) from assets)",
            "insert into assets select repeat('cd', 32), dataset_id, producer_id, 'B2', description, content_hash, mime_type, \
             size_bytes, policy_meta, manifest_hash, manifest, created_at, updated_at from assets limit 1",
            "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) \
             select version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest from assets \
             where name = 'B2' on conflict (version_id) do update set name = 'C3'",
            "delete from assets where name = 'C3'",
            "with moved as (update assets set name = 'D4' where name = 'A1' returning 1) select count(*) from moved",
            "do $$ begin update assets set name = 'E5' where name = 'D4'; end $$",
            "set session_replication_role = replica",
            "update assets set name = 'F6' where name = 'E5'",
            "reset session_replication_role",
            // More than 1,000 rows: logged as wildcards.
            "insert into assets (version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest) \
             select md5(n::text) || md5((n + 1)::text), 'd/many', (select min(producer_id) from producers), 'many ' || n, \
             repeat('a', 64), repeat('a', 64), '{}' from generate_series(1, 1500) n",
            "update assets set name = upper(name)",
            "delete from assets where dataset_id = 'd/many'",
            "truncate assets cascade",
        ];
        for sql in statements {
            app.sql(sql).await;
            app.caught_up().await;
            let shown = app.json("/listings?limit=200").await;
            let shown: Vec<&str> =
                shown["items"].as_array().expect("items").iter().map(|i| i["name"].as_str().expect("name")).collect();
            let expected =
                app.rows("select name from assets order by updated_at desc, version_id limit 200").await;
            assert_eq!(shown, expected, "after: {sql}");
        }
    })
    .await;
}
