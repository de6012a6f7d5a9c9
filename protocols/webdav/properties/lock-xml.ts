import { LockScope, LockType } from '../http/vocabulary.ts'
import { escapeText } from '../http/xml-write.ts'
import type { ActiveLock } from '../locks/lock-store.ts'
import type { DavView } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'

const TYPE_XML = `<D:locktype><D:${LockType.Write.value}/></D:locktype>`

/** The content of `DAV:supportedlock`: write locks, exclusive and shared. */
export const SUPPORTED_LOCKS = [LockScope.Exclusive, LockScope.Shared]
  .map((scope) => `<D:lockentry>${scopeXml(scope)}${TYPE_XML}</D:lockentry>`)
  .join('')

/** The content of `DAV:lockdiscovery` (RFC 4918 section 15.8). */
export function lockDiscovery(view: DavView, locks: readonly ActiveLock[], nowMs: number): string {
  return locks.map((lock) => activeLock(view, lock, nowMs)).join('')
}

function activeLock(view: DavView, lock: ActiveLock, nowMs: number): string {
  const seconds = Math.max(0, Math.ceil((lock.expiresMs - nowMs) / 1000))
  const owner = lock.owner === '' ? '' : `<D:owner>${lock.owner}</D:owner>`
  return (
    `<D:activelock>${scopeXml(lock.kind.scope)}${TYPE_XML}<D:depth>${lock.deep ? 'infinity' : '0'}</D:depth>${owner}` +
    `<D:timeout>Second-${seconds}</D:timeout>` +
    `<D:locktoken><D:href>${escapeText(lock.token)}</D:href></D:locktoken>` +
    `<D:lockroot><D:href>${hrefIn(view, lock.names, false)}</D:href></D:lockroot></D:activelock>`
  )
}

function scopeXml(scope: LockScope): string {
  return `<D:lockscope><D:${scope.value}/></D:lockscope>`
}
