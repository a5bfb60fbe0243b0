"""What `scripts/schemathesis` adds to Schemathesis: GraphQL's own scalars, and rules that a description cannot tell."""

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Codes and hints with which a request may be refused though it is as the description says: what must hold between two
# parameters, for a text that is hex as well as a transaction, or about what is stored, is written there in words.
EVERYWHERE = {"amount-too-large", "cursor", "payload-too-large"}
BY_WORDS = {
    "DELETE /price/rules": {"versionId"},
    "GET /advisories": {"versionId"},
    "GET /api/v1/lineage": {"nodeId"},
    "GET /graphql": {None},
    "GET /listings": {"offset"},
    "GET /listings/search": {"offset"},
    "GET /openlineage/jobs/{node}": {"node", "namespace", "name"},
    "GET /openlineage/lineage": {"node", "depth"},
    "GET /openlineage/nodes/dataset/{node}": {"node", "namespace", "name"},
    "GET /resolve": {"versionId"},
    "PATCH /policies/{policyId}": {"/minRowCount"},
    "POST /advisories": {"idempotency-key-reused", "expiresAt", "producerIds", "versionIds"},
    "POST /graphql": {None},
    "POST /api/v1/lineage": {"/eventTime"},
    "POST /openlineage/ingest": {"/eventTime"},
    "POST /pay": {"idempotency-key-reused"},
    "POST /payments/submit": {"rawTx"},
    "POST /policies": {"idempotency-key-reused", "/minRowCount"},
    "POST /policies/evaluate": {"/minRowCount"},
    "POST /producers/register": {"website"},
    "POST /ready": {"/minRowCount"},
    "POST /submit": {"rawTx", "suggestedEnvelope", "beef", "/provenance/createdAt"},
}


def is_graphql(case):
    return not case.operation.label.startswith(("GET /", "POST /", "PATCH /", "DELETE /"))


@schemathesis.check
def errors_are_told_by_code(ctx, response, case):
    """In place of `not_a_server_error`, to which every error of GraphQL is a fault of the server's."""
    if not is_graphql(case):
        return None
    assert response.status_code < 500, f"status {response.status_code}"
    for error in response.json().get("errors", []):
        code = error.get("extensions", {}).get("code")
        assert code is not None, f"an error without a code: {error['message']}"
        assert code not in ("INTERNAL", "REFUSED_BY_DATABASE", "TIMEOUT"), f"{code}: {error['message']}"
    return None


@schemathesis.check
def valid_data_is_taken(ctx, response, case):
    """Schemathesis's own `positive_data_acceptance`, which knows no rules in words."""
    # GraphQL tells in its own form that an argument is out of bounds, and its schema has no bounds.
    if is_graphql(case):
        return None
    if response.status_code in (400, 413, 422):
        body = response.json()
        allowed = EVERYWHERE | BY_WORDS.get(case.operation.label, set())
        # JSON can hold a NUL wherever it holds a text, and PostgreSQL cannot.
        if body.get("hint") in allowed or body.get("error") in allowed or "NUL" in body.get("message", ""):
            return None
    return positive_data_acceptance(ctx, response, case)


def hex_text(least, most):
    return st.binary(min_size=least, max_size=most).map(lambda data: nodes.String(data.hex()))


schemathesis.graphql.scalar("DateTime", st.datetimes().map(lambda time: nodes.String(time.isoformat() + "Z")))
schemathesis.graphql.scalar("Hex", hex_text(0, 64))
schemathesis.graphql.scalar("Hex32", hex_text(32, 32))
schemathesis.graphql.scalar("JSON", st.booleans().map(nodes.Boolean) | st.text().map(nodes.String))
schemathesis.graphql.scalar("Satoshis", st.integers(1, 2_100_000_000_000_000).map(lambda sats: nodes.String(str(sats))))
