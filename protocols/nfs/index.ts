/** The only door to the NFS adapter. */

export { type ExportRule, parseExport } from './exports/export-rules.ts'
export type { NfsExport } from './exports/export-table.ts'
export type { NsmJournal } from './nsm/peer-list.ts'
export type { Logger } from './rpc/logger.ts'
export { isReplyMemory, type PersistentReplies, REPLY_MEMORY_BYTES } from './rpc/reply-store.ts'
export { type NfsServer, type NfsServerOptions, startNfs } from './start.ts'
