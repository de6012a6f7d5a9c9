import { Access, type Inode, OverlayError } from '../../overlay-core/index.ts'
import { limitSilence } from './body.ts'
import type { DavContext, ViewContext } from './context.ts'
import { type Member, memberBatches } from './members.ts'
import { encodeSegment, hrefOf, textOfName } from './path.ts'
import { sendBody, writeOut } from './reply.ts'
import type { Target } from './resolve.ts'

const HTML_TYPE = 'text/html; charset=utf-8'

/** The page runs no script, loads nothing and cannot be framed, whatever the names in it try. */
const HEADERS = [
  'Content-Security-Policy',
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options',
  'nosniff',
  'Referrer-Policy',
  'no-referrer',
  'Cache-Control',
  'no-cache',
]

const STYLE =
  'body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}' +
  'h1{font-size:1.2rem;word-break:break-all}table{border-collapse:collapse;width:100%}td,th{padding:.2rem .8rem .2rem 0;' +
  'text-align:left;border-bottom:1px solid #eee}td+td,th+th{white-space:nowrap;text-align:right;color:#666}' +
  'a{color:#0645ad;text-decoration:none;word-break:break-all}a:hover{text-decoration:underline}' +
  '@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#333}a{color:#8ab4f8}}'

/** Text inside HTML, in content and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}

/** Answers a GET of a collection with a page for people. Links are absolute paths, so the final slash does not matter. */
export async function sendListing(ctx: ViewContext, collection: Target & { readonly inode: Inode }): Promise<void> {
  const { view, path } = ctx
  const base = hrefOf(view.root, path.names, true)
  const title = `/${[view.name, ...path.names.map(textOfName)].join('/')}/`
  const above = path.names.length === 0 ? '/' : hrefOf(view.root, path.names.slice(0, -1), true)
  if (ctx.req.method === 'HEAD') {
    if ((await view.overlay.access(view.cred, collection.inode, Access.read)) === 0)
      throw new OverlayError('EACCES', 'get')
    ctx.res.writeHead(200, [...HEADERS, 'Content-Type', HTML_TYPE])
    ctx.res.end()
    return
  }
  let page: string = pageHead(title) + row(above, '../', '', '')
  let held: Member[] | undefined = []
  let started = false
  for await (const members of memberBatches(collection)) {
    held?.push(...members)
    if (held !== undefined && held.length <= ctx.services.limits.sortedMembers) continue
    page += memberRows(base, held === undefined ? members : inOrder(held))
    held = undefined
    if (!started) {
      limitSilence(ctx)
      ctx.res.writeHead(200, [...HEADERS, 'Content-Type', HTML_TYPE])
      started = true
    }
    await writeOut(ctx.res, page)
    page = ''
  }
  if (held !== undefined) page += memberRows(base, inOrder(held))
  page += PAGE_TAIL
  if (started) ctx.res.end(page)
  else sendBody(ctx, 200, HTML_TYPE, page, HEADERS)
}

/** Answers a GET of `/` with a page of the views. */
export function sendIndex(ctx: DavContext): void {
  const rows = [...ctx.services.views.values()].map((view) => row(view.root, `${view.name}/`, '', ''))
  sendBody(ctx, 200, HTML_TYPE, pageHead('/') + rows.join('') + PAGE_TAIL, HEADERS)
}

function inOrder(members: Member[]): Member[] {
  return members.sort((a, b) => {
    const kinds = Number(b.collection) - Number(a.collection)
    if (kinds !== 0) return kinds
    return a.name < b.name ? -1 : 1
  })
}

function memberRows(base: string, members: readonly Member[]): string {
  let rows = ''
  for (const { name, collection, attr } of members) {
    const slash = collection ? '/' : ''
    const size = collection || attr === undefined ? '' : sizeText(attr.size)
    const time = attr === undefined ? '' : timeText(attr.mtime.sec)
    rows += row(`${base}${encodeSegment(name)}${slash}`, textOfName(name) + slash, size, time)
  }
  return rows
}

function row(href: string, text: string, size: string, time: string): string {
  return `<tr><td><a href="${escapeHtml(href)}">${escapeHtml(text)}</a></td><td>${size}</td><td>${time}</td></tr>\n`
}

function pageHead(title: string): string {
  const safe = escapeHtml(title)
  return (
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>${safe}</title><style>${STYLE}</style></head>\n<body><h1>${safe}</h1>\n` +
    '<table><thead><tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr></thead><tbody>\n'
  )
}

const PAGE_TAIL = '</tbody></table></body></html>\n'

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
