import { hash } from 'node:crypto'
import {
  Access,
  type Inode,
  loopBudget,
  type MaybePromise,
  type Name,
  OverlayError,
  type Provenance,
  sortInTurns,
} from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { escapeHtml, HTML_TYPE, PAGE_END, type PageAccount, pageHeaders, pageStart } from '../http/page-frame.ts'
import { encodeSegment, nameOfText, textOfName } from '../http/path.ts'
import { evaluatePreconditions } from '../http/preconditions.ts'
import { type Member, memberBatches } from '../request/members.ts'
import { limitSilence } from '../request/pace.ts'
import { sendBody, sendEmpty, writeOut } from '../request/reply.ts'
import type { Target } from '../request/resolve.ts'
import { sharedViews, viewLists } from '../request/view-lists.ts'
import type { DavContext, ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'

/** Pages up to this length are sent whole. */
const WHOLE_CHARS = 256 * 1024
const PIECE_CHARS = 64 * 1024

/** A collection and the data of its page. */
interface Page {
  readonly base: string
  readonly title: string
  /** Names and paths of the collections above it, the view first. */
  readonly way: readonly { readonly text: string; readonly href: string }[]
  readonly readOnly: boolean
  /** Whether removed names are shown too. */
  readonly removed: boolean
  readonly account: PageAccount | undefined
  /** Whether it is reached by a link, whose visitors have no other views. */
  readonly linked: boolean
  /** Where it is, for links that the user makes; undefined if the user can make none here. */
  readonly place: Place | undefined
  /** The path of the page about the user's own view; undefined elsewhere. */
  readonly mine: string | undefined
}

/** A path in a view of the user. */
interface Place {
  readonly view: string
  readonly names: readonly Name[]
}

/** A row of the page. */
interface Entry {
  readonly name: Name
  readonly collection: boolean
  readonly size: number | undefined
  readonly mtimeSec: number | undefined
  readonly layer: Provenance | undefined
  /** Where it is, if a symlink leads there. */
  readonly target?: readonly Name[] | undefined
}

/** Responds to a GET of a collection with an HTML page. Links are absolute paths, so the final slash does not matter. */
export async function sendListing(ctx: ViewContext, collection: Target & { readonly inode: Inode }): Promise<void> {
  const { view } = ctx
  if (ctx.req.method === 'HEAD') {
    if ((await view.overlay.access(view.cred, collection.inode, Access.read)) === 0)
      throw new OverlayError('EACCES', 'get')
    ctx.res.writeHead(200, [...headersOf(ctx), 'Content-Type', HTML_TYPE])
    ctx.res.end()
    return
  }
  const page = pageOf(ctx, collection)
  const out = new PageWriter(ctx)
  if (ctx.caller.dropOnly) return out.end(pageHead(page, ' data-drop') + DROP_TOOLS + PAGE_END)
  await out.add(pageHead(page) + collectionTools(page) + TABLE_HEAD)
  let held: Entry[] | undefined = page.removed ? await removedEntries(collection) : []
  for await (const members of memberBatches(collection)) {
    const entries = await entriesOf(collection, members)
    if (held === undefined) {
      await addRows(out, page, entries)
      continue
    }
    for (const entry of entries) held.push(entry)
    if (held.length <= ctx.services.limits.sortedMembers) continue
    await addRows(out, page, await sortInTurns(held, compareEntries))
    held = undefined
  }
  if (held !== undefined) await addRows(out, page, await sortInTurns(held, compareEntries))
  const empty = held?.length === 0 ? '<p class="empty">This folder is empty.</p>' : ''
  out.end(`${TABLE_END}${empty}${PAGE_END}`)
}

/** Sends a page while it is built: a small one whole, with an entity tag; of a larger one only one piece at a time is in memory. */
class PageWriter {
  readonly #ctx: DavContext
  #html = ''
  #started = false

  constructor(ctx: DavContext) {
    this.#ctx = ctx
  }

  /** Resolves when the client has read enough for the page to continue. @throws ClientGone */
  add(html: string): MaybePromise<void> {
    this.#html += html
    if (this.#html.length >= (this.#started ? PIECE_CHARS : WHOLE_CHARS)) return this.#flush()
  }

  end(html: string): void {
    if (this.#started) this.#ctx.res.end(this.#html + html)
    else sendPage(this.#ctx, this.#html + html)
  }

  async #flush(): Promise<void> {
    const piece = this.#html
    this.#html = ''
    if (!this.#started) {
      limitSilence(this.#ctx)
      this.#ctx.res.writeHead(200, [...headersOf(this.#ctx), 'Content-Type', HTML_TYPE])
      this.#started = true
    }
    await writeOut(this.#ctx.res, piece)
    await loopBudget.rest()
  }
}

/** Sends a complete page unless the client already has it: its entity tag covers every byte (RFC 9110 section 13). */
function sendPage(ctx: DavContext, html: string): void {
  const etag = `"${hash('sha1', html, 'base64url')}"`
  const failed = evaluatePreconditions(ctx.req.headers, { exists: true, etag, mtimeSec: undefined }, true)
  if (failed === 412) throw new DavError(412, 'a precondition failed')
  if (failed === 304) sendEmpty(ctx, 304, ['ETag', etag, ...headersOf(ctx)])
  else sendBody(ctx, 200, HTML_TYPE, html, ['ETag', etag, ...headersOf(ctx)])
}

/** Responds to a GET of `/` or of a template with a page that lists the views. */
export function sendIndex(ctx: DavContext): void {
  const { template } = ctx
  const base = template === undefined ? '/' : `/${encodeSegment(nameOfText(template.name))}/`
  const way = template === undefined ? [] : [{ text: template.name, href: base }]
  const page: Page = {
    base,
    title: template === undefined ? '/' : `/${template.name}/`,
    way,
    readOnly: true,
    removed: false,
    account: accountOf(ctx),
    linked: false,
    place: undefined,
    mine: undefined,
  }
  const views = template === undefined ? sharedViews(ctx) : []
  const rows = [
    ...views.map((view) => row(view.root, `${view.name}/`, 'data-folder', '', '', '')),
    ...viewLists(ctx).map((name) =>
      row(`${base}${encodeSegment(nameOfText(name))}/`, `${name}/`, 'data-folder', '', '', ''),
    ),
  ]
  sendPage(ctx, pageHead(page) + TABLE_HEAD + rows.join('') + TABLE_END + PAGE_END)
}

/** What the page shows of the login. */
function accountOf({ services, req }: DavContext): PageAccount | undefined {
  return services.accountOf(req)
}

function headersOf(ctx: DavContext): string[] {
  return pageHeaders(accountOf(ctx)?.logout?.atOnce === true)
}

/** Where a link to this collection would lead. A user makes links into views that all share and into the own ones. */
function placeOf({ view, template, caller }: ViewContext, { names }: Target): Place | undefined {
  if (template === undefined) return { view: view.name, names }
  return view.name === caller.user ? { view: template.name, names } : undefined
}

/** Where the user sees what was changed in this view, if it is the own one of a template. */
function minePath({ view, template, caller }: ViewContext, account: PageAccount | undefined): string | undefined {
  if (template === undefined || account?.mine === undefined || view.name !== caller.user) return undefined
  return `${account.mine}/${encodeSegment(nameOfText(template.name))}`
}

function pageOf(ctx: ViewContext, collection: Target): Page {
  const { view, path, req, readOnly } = ctx
  const account = accountOf(ctx)
  // The name of the view and the path to it are for its owner.
  const linked = ctx.caller.scope?.root !== undefined
  const top = linked ? 'link' : view.name
  const texts = [top, ...path.names.slice(view.hidden).map(textOfName)]
  return {
    base: hrefIn(view, path.names, true),
    title: `/${texts.join('/')}/`,
    way: texts.map((text, depth) => ({ text, href: hrefIn(view, path.names.slice(0, view.hidden + depth), true) })),
    readOnly: view.overlay.readOnly || readOnly,
    removed: /\?removed$/.test(req.url ?? '') && !view.overlay.readOnly,
    ...{ account, linked },
    place: account?.access === undefined ? undefined : placeOf(ctx, collection),
    mine: minePath(ctx, account),
  }
}

async function entriesOf(
  { view, inode: dir, names: above }: Target & { readonly inode: Inode },
  members: Member[],
): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const { name, names, collection, inode, attr } of members) {
    if (loopBudget.spent) await loopBudget.rest()
    const layer = inode === undefined ? undefined : await view.overlay.provenance(view.cred, dir, name)
    const size = collection ? undefined : attr?.size
    entries.push({
      name,
      collection,
      size,
      mtimeSec: attr?.mtime.sec,
      layer,
      target: isIn(above, name, names) ? undefined : names,
    })
  }
  return entries
}

/** Whether a path is that of the member `name` of the collection `above`. */
function isIn(above: readonly Name[], name: Name, names: readonly Name[]): boolean {
  return names.length === above.length + 1 && names.every((each, i) => each === (i < above.length ? above[i] : name))
}

async function removedEntries({ view, inode }: Target & { readonly inode: Inode }): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const name of await view.overlay.removedNames(view.cred, inode)) {
    if (loopBudget.spent) await loopBudget.rest()
    entries.push({ name, collection: false, size: undefined, mtimeSec: undefined, layer: 'removed' })
  }
  return entries
}

function compareEntries(a: Entry, b: Entry): number {
  const kinds = Number(b.collection) - Number(a.collection)
  if (kinds !== 0) return kinds
  return a.name < b.name ? -1 : 1
}

/** The names of the layers on the page. */
function layerText({ layer, collection }: Entry): string {
  switch (layer) {
    case 'changed':
      return collection ? 'merged' : 'copied up'
    case undefined:
    case 'absent':
      return ''
    default:
      return layer
  }
}

async function addRows(out: PageWriter, { base, place }: Page, entries: readonly Entry[]): Promise<void> {
  for (const entry of entries) {
    if (loopBudget.spent) await loopBudget.rest()
    const slow = out.add(entryRow(base, place === undefined ? { ...entry, target: undefined } : entry))
    if (slow !== undefined) await slow
  }
}

function entryRow(base: string, entry: Entry): string {
  const { name, collection, size, mtimeSec, layer, target } = entry
  const slash = collection ? '/' : ''
  const href = `${base}${encodeSegment(name)}${slash}`
  const text = textOfName(name)
  const data =
    `data-name="${escapeHtml(text)}" data-href="${href}" data-size="${size ?? -1}" data-time="${mtimeSec ?? 0}" ` +
    `data-layer="${layer ?? ''}"${target === undefined ? '' : ` data-path="${pathText(target)}"`}${collection ? ' data-folder' : ''}${layer === 'removed' ? ' class="removed"' : ''}`
  const badge = layer === undefined ? '' : `<span class="badge ${layer}">${layerText(entry)}</span>`
  const time = mtimeSec === undefined ? '' : timeText(mtimeSec)
  const link = layer === 'removed' ? undefined : href
  return row(link, text + slash, data, size === undefined ? '' : sizeText(size), time, badge)
}

function row(href: string | undefined, text: string, data: string, size: string, time: string, badge: string): string {
  const label = href === undefined ? escapeHtml(text) : `<a href="${escapeHtml(href)}">${escapeHtml(text)}</a>`
  return (
    `<tr ${data}><td class="name">${label}</td><td class="size">${size}</td><td class="time">${time}</td>` +
    `<td class="layer">${badge}</td><td class="act"></td></tr>\n`
  )
}

function pageHead({ base, title, way, readOnly, account, linked, place }: Page, more = ''): string {
  const crumbs = way.map(({ text, href }, depth) => {
    const current = depth === way.length - 1
    const label = escapeHtml(text)
    return current ? `<span aria-current="page">${label}</span>` : `<a href="${href}">${label}</a>`
  })
  const slash = '<span class="slash">/</span>'
  const where = place === undefined ? '' : ` data-view="${escapeHtml(place.view)}" data-path="${pathText(place.names)}"`
  const attributes = ` data-base="${escapeHtml(base)}"${where}${readOnly ? ' data-readonly' : ''}${more}`
  return (
    pageStart({ title, script: 'page.js', attributes, account }) +
    `<h1>${way.length === 0 ? '/' : `${linked ? '' : '<a href="/" aria-label="all views">/</a> '}${crumbs.join(slash)}`}</h1>\n`
  )
}

/** A path in a view, for an attribute. */
function pathText(names: readonly Name[]): string {
  return escapeHtml(names.map(textOfName).join('/'))
}

/** The actions for the collection. Those that need the script are hidden until it runs. */
function collectionTools({ base, readOnly, removed, place, mine }: Page): string {
  const changes = readOnly
    ? ''
    : '<button type="button" class="main" id="upload" hidden>Upload…</button><input type="file" id="files" multiple hidden>' +
      '<button type="button" id="folder" hidden>New folder…</button>' +
      `<a class="button" href="${base}${removed ? '">Hide removed' : '?removed">Show removed'}</a>`
  const link = place === undefined ? '' : '<button type="button" id="link" hidden>Make a link…</button>'
  return (
    `<div class="tools">${changes}${link}${mine === undefined ? '' : `<a class="button" href="${mine}">My changes</a>`}<span class="gap"></span>` +
    `<a class="button" href="${base}?archive=zip" download>Download zip</a><a class="button" href="${base}?archive=tar.gz" download>Download tar.gz</a></div>\n` +
    MESSAGES
  )
}

const MESSAGES = '<p id="message" role="alert" hidden></p><ul id="uploads" aria-live="polite"></ul>\n'

/** What a page has on which files can only be added. */
const DROP_TOOLS =
  '<p class="lead">Add your files here. Others who have this link do not see them.</p>' +
  '<div class="tools"><button type="button" class="main" id="upload" hidden>Upload…</button><input type="file" id="files" multiple hidden></div>\n' +
  `<noscript><p>Uploading needs JavaScript, or a WebDAV client such as curl: <code>curl -T FILE</code> and the address of this page.</p></noscript>${MESSAGES}`

const TABLE_HEAD =
  '<table><thead><tr><th scope="col" data-column="name">Name</th><th scope="col" class="size" data-column="size">Size</th>' +
  '<th scope="col" data-column="time">Modified (UTC)</th><th scope="col" data-column="layer">Layer</th>' +
  '<th scope="col" class="act"><span class="unseen">Actions</span></th></tr></thead><tbody>\n'
const TABLE_END = '</tbody></table>'

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

function sizeText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`
}

function timeText(sec: number): string {
  const date = new Date(sec * 1000)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(0, 16).replace('T', ' ')
}
