/**
 * The parts of the package webdav-server that this adapter uses. This is the only file that imports it: the server skeleton
 * with its method registry, and the types of resources, locks and errors. Its file systems, users, authentication,
 * lock and property managers, persistence and standard methods are not used.
 */
import { createRequire } from 'node:module'
import type { HTTPMethod as RegisteredMethod, WebDAVServer as Skeleton } from 'webdav-server/lib/index.v2.js'

type Package = typeof import('webdav-server/lib/index.v2.js')
const webdav = createRequire(import.meta.url)('webdav-server/lib/index.v2.js') as Package

/** The server skeleton: a registry of methods by lower-case name, and an `executeRequest` to replace. */
export const WebDAVServer: new (options: { version: string }) => Skeleton = webdav.WebDAVServer

/** A method in the registry. */
export type HTTPMethod = RegisteredMethod

/** Kinds of resources: `File`, `Directory`, `NoResource`. */
export const ResourceType = webdav.ResourceType
export type ResourceType = InstanceType<Package['ResourceType']>

/** Lock scopes of RFC 4918 section 6.2: `Exclusive` and `Shared`. */
export const LockScope = webdav.LockScope
export type LockScope = InstanceType<Package['LockScope']>

/** Lock types of RFC 4918 section 14.30: `Write` is the only one. */
export const LockType = webdav.LockType

/** Scope, type and timeout (seconds) of a lock. */
export const LockKind = webdav.LockKind
export type LockKind = InstanceType<Package['LockKind']>

/** An error with an HTTP status (`HTTPCode`). */
export const HTTPError = webdav.HTTPError
