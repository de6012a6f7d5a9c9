/** The public interface of the NFS adapter. */

export { type ExportRule, parseExport } from './exports/export-rules.ts'
export type { NfsExportSettings } from './exports/export-table.ts'
export type { NfsCaller, NfsMember, NfsMembers } from './exports/served-view.ts'
export type { HeldLock, HeldLocks } from './held-locks.ts'
export type { Logger } from './rpc/logger.ts'
export type { PeerUse } from './rpc/peer-uses.ts'
export { isReplyMemory, REPLY_MEMORY_BYTES, type ReplyMemory } from './rpc/reply-store.ts'
export type { OpenConnection } from './rpc/server.ts'
export type { ClientIdentity, StartTls, TransportSecurity } from './rpc/start-tls.ts'
export { type NfsServer, type NfsServerOptions, type ProcedureLatencies, startNfs } from './start.ts'
