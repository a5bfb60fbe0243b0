//! How to make rows of each table, so that every kind of statement can be tried on it.

/// Valid rows of a table that is empty but for them. Expressions are SQL over `n`, which counts from 1, and over the row `t`.
pub(super) struct Maker {
    pub(super) table: &'static str,
    /// Tables whose rows these refer to, in the order in which they must be filled.
    pub(super) needs: &'static [&'static str],
    pub(super) columns: &'static str,
    pub(super) values: &'static str,
    /// What `on conflict` names.
    pub(super) key: &'static str,
    /// A column that tells rows apart and that [`Self::values`] gives.
    pub(super) by: &'static str,
    /// An UPDATE's assignments: other tags than before where no foreign key forbids it.
    pub(super) change: &'static str,
    /// The same where none can forbid it: every tag that can differ does.
    pub(super) retag: &'static str,
}

pub(super) fn maker(table: &str) -> Option<&'static Maker> {
    MAKERS.iter().find(|maker| maker.table == table)
}

const fn rows(
    table: &'static str, needs: &'static [&'static str], columns: &'static str, values: &'static str,
    key: &'static str, change: &'static str,
) -> Maker {
    Maker { table, needs, columns, values, key, by: key, change, retag: change }
}

const MAKERS: &[Maker] = &[
    rows(
        "producers",
        &[],
        "producer_id, identity_key",
        "'p' || n, '02' || lpad(to_hex(n), 64, '0')",
        "producer_id",
        "producer_id = t.producer_id || 'x'",
    ),
    Maker {
        retag: "version_id = '1' || substr(t.version_id, 2), dataset_id = t.dataset_id || 'x', producer_id = t.producer_id || 'x'",
        ..rows(
            "assets",
            &["producers"],
            "version_id, dataset_id, producer_id, name, content_hash, manifest_hash, manifest",
            "lpad(to_hex(n), 64, '0'), 'd' || n, 'p' || n, 'a' || n, repeat('a', 64), repeat('b', 64), '{}'::jsonb",
            "version_id",
            "version_id = '1' || substr(t.version_id, 2), dataset_id = t.dataset_id || 'x'",
        )
    },
    Maker {
        by: "child_version_id",
        retag: "child_version_id = '1' || substr(t.child_version_id, 2), parent_version_id = 'e' || substr(t.parent_version_id, 2)",
        ..rows(
            "asset_parents",
            &["producers", "assets"],
            "child_version_id, parent_version_id",
            "lpad(to_hex(n), 64, '0'), 'f' || lpad(to_hex(n), 63, '0')",
            "child_version_id, parent_version_id",
            "parent_version_id = 'e' || substr(t.parent_version_id, 2)",
        )
    },
    Maker {
        retag: "version_id = '1' || substr(t.version_id, 2)",
        ..rows(
            "declarations",
            &["producers", "assets"],
            "version_id, txid",
            "lpad(to_hex(n), 64, '0'), lpad(to_hex(n), 64, '0')",
            "version_id",
            "vout = t.vout + 1",
        )
    },
    rows(
        "block_headers",
        &[],
        "hash, height, prev_hash, merkle_root",
        "lpad(to_hex(n), 64, '0'), n, repeat('a', 64), repeat('b', 64)",
        "hash",
        "height = t.height + 1",
    ),
    Maker {
        by: "version_id",
        retag: "version_id = '1' || substr(t.version_id, 2)",
        ..rows(
            "bundle_audit",
            &["producers", "assets"],
            "version_id, block_hash, block_height",
            "lpad(to_hex(n), 64, '0'), repeat('a', 64), n",
            "version_id, block_hash",
            "reorged = true",
        )
    },
    rows("policies", &[], "policy_id, name", "'y' || n, 'n' || n", "policy_id", "policy_id = t.policy_id || 'x'"),
    rows(
        "policy_runs",
        &[],
        "run_id, policy_id, version_id, decision",
        "'r' || n, case when n % 2 = 1 then 'y' || n end, lpad(to_hex(n), 64, '0'), 'allow'",
        "run_id",
        "policy_id = 'z' || t.run_id, version_id = '1' || substr(t.version_id, 2)",
    ),
    Maker {
        retag: "version_id = '1' || substr(t.version_id, 2), producer_id = t.producer_id || 'x'",
        ..rows(
            "price_rules",
            &["producers", "assets"],
            "rule_id, version_id, producer_id, satoshis",
            "'r' || n, case when n % 2 = 1 then lpad(to_hex(n), 64, '0') end, case when n % 2 = 0 then 'p' || n end, n",
            "rule_id",
            "satoshis = t.satoshis + 1",
        )
    },
    Maker {
        retag: "receipt_id = t.receipt_id || 'x', version_id = '1' || substr(t.version_id, 2)",
        ..rows(
            "receipts",
            &["producers", "assets"],
            "receipt_id, version_id, unit_price_sat, amount_sat, expires_at",
            "'q' || n, lpad(to_hex(n), 64, '0'), 1, 1, now()",
            "receipt_id",
            "receipt_id = t.receipt_id || 'x'",
        )
    },
    Maker {
        retag: "receipt_id = t.receipt_id || 'x'",
        ..rows(
            "revenue_events",
            &["producers", "assets", "receipts"],
            "event_id, receipt_id, version_id, type, amount_sat",
            "n, 'q' || n, lpad(to_hex(n), 64, '0'), 'quoted', 1",
            "event_id",
            "amount_sat = t.amount_sat + 1",
        )
    },
    rows(
        "advisories",
        &[],
        "advisory_id, type, reason",
        "'v' || n, 'BLOCK', 'r'",
        "advisory_id",
        "advisory_id = t.advisory_id || 'x'",
    ),
    Maker {
        retag: "advisory_id = t.advisory_id || 'x', version_id = '1' || substr(t.version_id, 2), producer_id = t.producer_id || 'x'",
        ..rows(
            "advisory_targets",
            &["advisories"],
            "target_id, advisory_id, version_id, producer_id",
            "n, 'v' || n, case when n % 2 = 1 then lpad(to_hex(n), 64, '0') end, case when n % 2 = 0 then 'p' || n end",
            "target_id",
            "version_id = '1' || substr(t.version_id, 2), producer_id = t.producer_id || 'x'",
        )
    },
    rows(
        "lineage_event_audit",
        &[],
        "event_hash, event_time, namespace, payload_json",
        "lpad(to_hex(n), 64, '0'), now(), 'ns' || n, '{}'::jsonb",
        "event_hash",
        "namespace = t.namespace || 'x'",
    ),
    Maker {
        by: "namespace",
        ..rows(
            "lineage_jobs",
            &[],
            "namespace, name, latest_event_at",
            "'ns' || n, 'j', now()",
            "namespace, name",
            "namespace = t.namespace || 'x'",
        )
    },
    Maker {
        by: "run_id",
        ..rows(
            "lineage_runs",
            &[],
            "run_id, job_namespace, job_name, state, latest_event_at",
            "'r' || n, 'ns' || n, 'j', 'START', now()",
            "run_id, job_key",
            "job_namespace = t.job_namespace || 'x'",
        )
    },
    Maker {
        by: "namespace",
        ..rows(
            "lineage_datasets",
            &[],
            "namespace, name, latest_event_at",
            "'ns' || n, 'd', now()",
            "namespace, name",
            "namespace = t.namespace || 'x'",
        )
    },
    Maker {
        by: "from_namespace",
        ..rows(
            "lineage_edges",
            &[],
            "from_namespace, from_name, to_namespace, to_name, job_namespace, job_name",
            "'f' || n, 'a', 't' || n, 'b', 'ns', 'j'",
            "from_key, to_key, job_key",
            "from_namespace = t.from_namespace || 'x', to_namespace = t.to_namespace || 'x'",
        )
    },
    Maker {
        by: "job_namespace",
        ..rows(
            "lineage_io",
            &[],
            "job_namespace, job_name, dataset_namespace, dataset_name, is_output",
            "'j' || n, 'a', 'd' || n, 'b', false",
            "job_key, dataset_key, is_output",
            "job_namespace = t.job_namespace || 'x', dataset_namespace = t.dataset_namespace || 'x'",
        )
    },
    rows("lineage_dead_letters", &[], "id, payload, errors", "n, 'p', '[]'::jsonb", "id", "attempts = t.attempts + 1"),
];
