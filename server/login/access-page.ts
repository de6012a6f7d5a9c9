import type { FastifyInstance } from 'fastify'
import { escapeHtml, HTML_TYPE, PAGE_END, pageHeaders, pageStart } from '../../protocols/webdav/index.ts'
import { ACCESS_PATH, type HttpLogin } from './http-login.ts'

const TITLE = 'App passwords and links'

/**
 * Adds the page on which users make, list and revoke app passwords and links, with `?user=NAME` those of another user. Its script does it by the calls of
 * `addTokenRoutes`. `views`: those that an app password can be limited to.
 */
export function addAccessPage(app: FastifyInstance, login: HttpLogin, views: () => readonly string[]): void {
  app.get(ACCESS_PATH, (request, reply) => {
    const account = login.accountOf(request.raw)
    const headers = pageHeaders(account?.logout?.atOnce === true)
    for (let i = 0; i < headers.length; i += 2) reply.header(headers[i] as string, headers[i + 1])
    reply.header('cache-control', 'no-store').type(HTML_TYPE)
    if (account?.access === undefined) {
      reply.code(403)
      return reply.send(`${pageStart({ title: TITLE, account })}${heading()}${WITH_TOKEN}${PAGE_END}`)
    }
    const { user } = request.query as { user?: unknown }
    const attributes = ` data-user="${escapeHtml(account.user)}" data-views="${escapeHtml(JSON.stringify(views()))}"`
    const whose = typeof user === 'string' && user !== account.user ? user : undefined
    return reply.send(
      `${pageStart({ title: TITLE, script: 'access.js', attributes, account })}${heading(whose)}${CONTENT}${PAGE_END}`,
    )
  })
}

function heading(whose?: string): string {
  const of = whose === undefined ? '' : ` of ${escapeHtml(whose)}`
  return `<h1><a href="/" aria-label="all views">/</a> <span aria-current="page">${TITLE}${of}</span></h1>\n`
}

const WITH_TOKEN =
  '<p>You came with an app password, which neither shows nor makes others. Log in with your own password.</p>\n'

const CONTENT =
  '<p class="lead">An app password lets one device or program in, with your name. A link lets in whoever has it; make one in the folder that it is for.</p>\n' +
  '<div class="tools"><button type="button" class="main" id="new-password" hidden>New app password…</button></div>\n' +
  '<p id="message" role="alert" hidden></p>\n' +
  '<noscript><p>This page needs JavaScript. On the server itself, <code>overlayd token</code> does the same.</p></noscript>\n' +
  '<table class="access" hidden><thead><tr><th scope="col">Name</th><th scope="col">Opens</th><th scope="col">To</th><th scope="col">Made</th>' +
  '<th scope="col">Expires</th><th scope="col">Used</th><th scope="col" class="act"><span class="unseen">Actions</span></th></tr></thead><tbody></tbody></table>\n' +
  '<p class="empty" hidden>There are no app passwords and links yet.</p>\n'
