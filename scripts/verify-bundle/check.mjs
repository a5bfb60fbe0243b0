// What the tests ask of the verifier: many bundles at once, each as it is and with its parts tampered with.
//
//   node check.mjs all <server> <versionId>...     good ones hold, tampered ones do not
//   node check.mjs saved <server> <file>           whether a bundle that was saved still holds
import { readFile } from 'node:fs/promises'
import { Beef, BlockHeadersService, LockingScript, Transaction, UnlockingScript } from '@bsv/sdk'
import { canonical, faults, sha256 } from './index.mjs'

const [mode, server, ...rest] = process.argv.slice(2)
const headers = new BlockHeadersService(server)

/** A header service that knows of another block at every height. */
const otherHeaders = { isValidRootForHeight: async () => false, currentHeight: async () => 1 }

async function fetched (path) {
  const answer = await fetch(server + path)
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  return answer
}

/** The same with one thing changed. */
function changed (value, change) {
  const copy = structuredClone(value)
  change(copy)
  return copy
}

/**
 * A bundle of a version that nobody declared: its transaction is in no block, and pretends to spend an output of one that is.
 * A verifier that only asks whether transactions hang together believes it.
 */
function forged (bundle, beef) {
  const manifest = changed(bundle.manifests[0].manifest, copy => { copy.description = 'forged'; delete copy.lineage })
  const id = sha256(canonical(manifest))
  const input = { sourceTransaction: Transaction.fromBEEF([...beef]), sourceOutputIndex: 0, unlockingScript: UnlockingScript.fromHex('00'), sequence: 1 }
  const tx = new Transaction(2, [input], [{ satoshis: 0, lockingScript: LockingScript.fromHex('006a04444c4d3126a1626d685820' + id) }], 0)
  const both = new Beef()
  both.mergeBeef([...beef])
  both.mergeTransaction(tx)
  const node = { versionId: id, manifestHash: id, txo: tx.id('hex') + ':0' }
  return [{ ...bundle, target: id, graph: { nodes: [node], edges: [] }, manifests: [{ manifestHash: id, manifest }] }, both.toBinary(), headers]
}

/** The bundle without its last node, and all that is said of it. */
function dropped (bundle) {
  return changed(bundle, copy => {
    const { versionId } = copy.graph.nodes.pop()
    copy.manifests.pop()
    copy.graph.edges = copy.graph.edges.filter(edge => edge.parent !== versionId && edge.child !== versionId)
  })
}

if (mode === 'saved') {
  const { bundle, beef } = JSON.parse(await readFile(rest[0], 'utf8'))
  const found = await faults(bundle, Buffer.from(beef, 'hex'), headers)
  console.log(JSON.stringify(found))
  process.exit(found.length === 0 ? 0 : 1)
}

const told = { good: 0, tampered: 0, believedThoughTampered: [] }
for (const id of rest) {
  const bundle = await (await fetched(`/bundle?versionId=${id}`)).json()
  const beef = Buffer.from(await (await fetched(`/bundle?versionId=${id}&format=beef`)).arrayBuffer())
  const found = await faults(bundle, beef, headers)
  if (found.length === 0) told.good++
  else console.error(id, found)
  const at = 40 + (parseInt(id.slice(0, 6), 16) % (beef.length - 80))
  const tampered = {
    beef: [bundle, changed(beef, copy => { copy[at] ^= 1 }), headers],
    manifest: [changed(bundle, copy => { copy.manifests[0].manifest.description += '!' }), beef, headers],
    output: [changed(bundle, copy => { copy.graph.nodes[0].txo = copy.graph.nodes[0].txo.replace(/:\d+$/, ':7') }), beef, headers],
    headers: [bundle, beef, otherHeaders],
    forged: forged(bundle, beef)
  }
  if (bundle.graph.nodes.length > 1) tampered.dropped = [dropped(bundle), beef, headers]
  if (Transaction.fromBEEF([...beef]).id('hex') !== bundle.graph.nodes[0].txo.slice(0, 64)) {
    told.believedThoughTampered.push(`${id}: the BEEF is not about the target`)
  }
  for (const [what, parts] of Object.entries(tampered)) {
    told.tampered++
    let wrong
    try {
      wrong = await faults(...parts)
    } catch (cause) {
      wrong = [cause.message]
    }
    if (wrong.length === 0) told.believedThoughTampered.push(`${id}: ${what}`)
  }
}
console.log(JSON.stringify(told))
