import { ASSETS, type PageAssets } from './page-assets.ts'

/** What pages for browsers show of the login. */
export interface PageAccount {
  /** The login name. */
  readonly user: string
  /** The path of the page with app passwords and links; undefined if the user may not have it. */
  readonly access: string | undefined
  /** Where the pages about the user's own views are, one for each template; undefined if the user may not have them. */
  readonly mine: string | undefined
  /** The path to log out; undefined if the browser does not log in by itself. `atOnce`: a form that is sent there ends a session. */
  readonly logout: { readonly path: string; readonly atOnce: boolean } | undefined
}

/** What a page consists of, besides its content. */
export interface PageFrame {
  readonly title: string
  /** The name of its script; undefined: it has none. */
  readonly script?: string
  /** Attributes of its body, with a space before each. */
  readonly attributes?: string
  /** Where the browser goes on to at once; undefined: it stays. */
  readonly next?: string | undefined
  readonly account: PageAccount | undefined
  /** Its scripts and styles; those of the pages of users by default. */
  readonly assets?: Pick<PageAssets, 'path'>
  /** The names of its style sheets. */
  readonly styles?: readonly string[]
}

const STYLES = ['page.css', 'dialogs.css', 'changes.css']

export const HTML_TYPE = 'text/html; charset=utf-8'

/** Escapes text for HTML content and quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}

/**
 * The header fields of a page, names and values in turn. It runs only its own scripts, loads nothing else and cannot be framed, whatever the names in it
 * contain; it sends a form only if that is the one to log out.
 */
export function pageHeaders(sendsForm: boolean): string[] {
  const policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; " +
    `form-action '${sendsForm ? 'self' : 'none'}'; frame-ancestors 'none'`
  return [
    ...['Content-Security-Policy', policy],
    ...['X-Content-Type-Options', 'nosniff'],
    ...['Referrer-Policy', 'no-referrer'],
    ...['Cache-Control', 'no-cache'],
  ]
}

/** The beginning of a page, down to the line with the user and the ways to app passwords and out. */
export function pageStart(frame: PageFrame): string {
  const { title, script, attributes = '', next, account, assets = ASSETS, styles: names = STYLES } = frame
  const tag = script === undefined ? '' : `<script type="module" src="${assets.path(script)}"></script>`
  const refresh = next === undefined ? '' : `<meta http-equiv="refresh" content="0; url=${escapeHtml(next)}">`
  const styles = names.map((name) => `<link rel="stylesheet" href="${assets.path(name)}">`).join('')
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">' +
    `<title>${escapeHtml(title)}</title>${refresh}${styles}${tag}</head>\n<body${attributes}>\n${account === undefined ? '' : accountLine(account)}`
  )
}

export const PAGE_END = '</body></html>\n'

function accountLine({ user, access, logout }: PageAccount): string {
  const way = access === undefined ? '' : `<a class="button" href="${access}">App passwords and links</a>`
  return `<header class="account"><span class="user">${escapeHtml(user)}</span>${way}${logout === undefined ? '' : logoutTag(logout)}</header>\n`
}

function logoutTag({ path, atOnce }: NonNullable<PageAccount['logout']>): string {
  if (!atOnce) return `<a class="button" href="${path}">Log out</a>`
  return `<form method="post" action="${path}" enctype="text/plain"><button id="logout">Log out</button></form>`
}

/** The form that logs out. */
export function logoutForm(path: string): string {
  return logoutTag({ path, atOnce: true }).replace('<button', '<button class="main"')
}
