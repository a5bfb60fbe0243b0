// Checks a bundle as a stranger would: with a stock SPV verifier (the npm package @bsv/sdk), the canonical form of manifests,
// and no code of Overlay's. Prints what was found as JSON; exits with 0 when everything holds.
//
//   node index.mjs <server> <versionId> [<header service>]
//
// The header service is who is trusted about the best chain: any that speaks the Block Headers Service protocol. Without one
// the server itself is asked, which shows that its answers fit together, and proves no more than that.
import { createHash } from 'node:crypto'
import { Beef, BlockHeadersService } from '@bsv/sdk'

/** The canonical form: keys in order, without `signatures` and `versionId`, at every level. */
export function canonical (value) {
  if (Array.isArray(value)) return '[' + value.map(canonical).join(',') + ']'
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const keys = Object.keys(value).filter(key => key !== 'signatures' && key !== 'versionId').sort()
  return '{' + keys.map(key => JSON.stringify(key) + ':' + canonical(value[key])).join(',') + '}'
}

export const sha256 = text => createHash('sha256').update(text).digest('hex')

/** The manifest hash that an output declares: the 32 bytes behind `DLM1`, and behind the CBOR key `mh`. */
function declared (output) {
  const script = output.lockingScript.toHex()
  const at = script.indexOf(Buffer.from('DLM1').toString('hex'))
  const key = script.indexOf('626d685820', at)
  return at < 0 || key < 0 ? undefined : script.slice(key + 10, key + 74)
}

/**
 * What is wrong with a bundle and its BEEF; empty when everything holds. Every version must have a Merkle path of its own: the stock
 * verifier also takes a transaction that only spends from proven ones, and that shows nothing of what it declares.
 */
export async function faults (bundle, beefBytes, headers) {
  const found = []
  let beef
  try {
    beef = Beef.fromBinary([...beefBytes])
    if (!await beef.verify(headers, false)) found.push('the transactions are not proven')
  } catch (cause) {
    return [`the BEEF cannot be read: ${cause.message}`]
  }
  const ids = new Set(bundle.graph.nodes.map(node => node.versionId))
  bundle.graph.nodes.forEach((node, at) => {
    const { manifest, manifestHash } = bundle.manifests[at]
    const id = node.versionId
    if (sha256(canonical(manifest)) !== id || manifestHash !== id) found.push(`${id}: the manifest has another hash`)
    const [txid, vout] = node.txo.split(':')
    const entry = beef.findTxid(txid)
    const tx = entry?.tx
    if (tx === undefined) found.push(`${id}: its transaction is not in the BEEF`)
    else if (entry.bumpIndex === undefined) found.push(`${id}: its transaction has no Merkle path`)
    else if (declared(tx.outputs[Number(vout)]) !== id) found.push(`${id}: its transaction declares something else`)
    const parents = (manifest.lineage?.parents ?? []).map(parent => parent.versionId ?? parent)
    for (const parent of parents) {
      if (!ids.has(parent)) found.push(`${id}: its parent ${parent} is not in the bundle`)
      const told = bundle.graph.edges.some(edge => edge.child === id && edge.parent === parent)
      if (ids.has(parent) && !told) found.push(`${id}: its parent ${parent} is not told`)
    }
    for (const { parent } of bundle.graph.edges.filter(edge => edge.child === id)) {
      if (!parents.includes(parent)) found.push(`${id}: ${parent} is no parent of it`)
    }
  })
  if (!ids.has(bundle.target)) found.push('the target is not among the versions')
  return found
}

async function fetched (url) {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  return answer
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [server, id, service = server] = process.argv.slice(2)
  if (id === undefined) {
    console.error('usage: node index.mjs <server> <versionId> [<header service>]')
    process.exit(2)
  }
  const path = `${server}/bundle?versionId=${id}`
  const bundle = await (await fetched(path)).json()
  const beef = Buffer.from(await (await fetched(`${path}&format=beef`)).arrayBuffer())
  const found = await faults(bundle, beef, new BlockHeadersService(service))
  const versions = bundle.graph.nodes.length
  console.log(JSON.stringify({ valid: found.length === 0, versions, faults: found }))
  process.exit(found.length === 0 ? 0 : 1)
}
