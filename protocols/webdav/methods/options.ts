import { FileType, type Inode, isErrno } from '../../../overlay-core/index.ts'
import { ResourceType } from '../http/vocabulary.ts'
import { sendEmpty } from '../request/reply.ts'
import { resolve } from '../request/resolve.ts'
import type { DavContext, ViewContext } from '../state/context.ts'
import { TUS_OPTIONS } from './tus.ts'

/**
 * OPTIONS inside a view (RFC 4918 section 10.1): the compliance classes and the methods that the resource supports. Locks (class 2) are
 * not offered in a read-only view.
 */
export async function options(ctx: ViewContext): Promise<void> {
  const { readOnly } = ctx.view.overlay
  sendOptions(
    ctx,
    readOnly ? '1, 3' : '1, 2, 3, sabredav-partialupdate',
    ctx.services.allowed(await kindOf(ctx), readOnly),
  )
}

/** OPTIONS on `/` and on `*`, which Windows sends before it uses a view. */
export function optionsRoot(ctx: DavContext): void {
  sendOptions(ctx, '1, 2, 3', ctx.services.allowed('root', false))
}

function sendOptions(ctx: DavContext, classes: string, allow: string): void {
  sendEmpty(ctx, 200, [
    'DAV',
    classes,
    'MS-Author-Via',
    'DAV',
    'Allow',
    allow,
    'Accept-Ranges',
    'bytes',
    'DASL',
    '<DAV:basicsearch>',
    ...TUS_OPTIONS,
  ])
}

async function kindOf(ctx: ViewContext): Promise<ResourceType> {
  try {
    const { inode } = await resolve(ctx.view, ctx.path.names, true)
    return resourceType(inode)
  } catch (error) {
    // Do not reveal the kind of a resource that the caller may not see.
    if (isErrno(error)) return ResourceType.NoResource
    throw error
  }
}

/** The kind of `inode` in the registry of methods. */
export function resourceType(inode: Inode | undefined): ResourceType {
  switch (inode?.type) {
    case FileType.directory:
      return ResourceType.Directory
    case FileType.regular:
      return ResourceType.File
    default:
      return ResourceType.NoResource
  }
}
