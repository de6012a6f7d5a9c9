import type { FastifyInstance } from 'fastify'
import { escapeHtml, HTML_TYPE, PAGE_END, pageHeaders, pageStart } from '../../protocols/webdav/index.ts'
import { type HttpLogin, MINE_PATH, may } from '../login/index.ts'

/**
 * Adds the page on which users see what they have changed in their own view of a template, and its versions. Its script does it by the calls of
 * `addOwnViewCalls`. `isTemplate`: whether users have views of this name.
 */
export function addOwnViewPage(app: FastifyInstance, login: HttpLogin, isTemplate: (name: string) => boolean): void {
  app.get(`${MINE_PATH}/:template`, (request, reply) => {
    const { template } = request.params as { template: string }
    const account = login.accountOf(request.raw)
    const { roles } = login.userOf(request.raw)
    const headers = pageHeaders(account?.logout?.atOnce === true)
    for (let i = 0; i < headers.length; i += 2) reply.header(headers[i] as string, headers[i + 1])
    reply.header('cache-control', 'no-store').type(HTML_TYPE)
    const title = `My changes in ${template}`
    const heading =
      `<h1><a href="/" aria-label="all views">/</a> <a href="/${encodeURIComponent(template)}/">${escapeHtml(template)}</a>` +
      '<span class="slash">/</span><span aria-current="page">My changes and versions</span></h1>\n'
    const known = isTemplate(template)
    if (account?.access === undefined || !known) {
      reply.code(known ? 403 : 404)
      const words = known
        ? 'You came with an app password. Log in with your own password.'
        : 'There are no views of this name that users have.'
      return reply.send(`${pageStart({ title, account })}${heading}<p>${words}</p>\n${PAGE_END}`)
    }
    const attributes = ` data-template="${escapeHtml(template)}"${may(roles, 'change own view') ? '' : ' data-readonly'}`
    return reply.send(`${pageStart({ title, script: 'mine.js', attributes, account })}${heading}${CONTENT}${PAGE_END}`)
  })
}

const TABS = [
  ['changes', 'My changes'],
  ['versions', 'Versions'],
  ['conflicts', 'Conflicts'],
]

const CONTENT =
  `<div class="tabs" role="tablist" aria-label="My view">${TABS.map(
    ([id, text]) =>
      `<button type="button" role="tab" id="tab-${id}" aria-controls="${id}" aria-selected="false" tabindex="-1">${text}</button>`,
  ).join('')}</div>\n` +
  '<p id="message" role="alert" hidden></p>\n' +
  '<noscript><p>This page needs JavaScript.</p></noscript>\n' +
  TABS.map(([id]) => `<section role="tabpanel" id="${id}" aria-labelledby="tab-${id}" hidden></section>\n`).join('')
