import {
  PAGE_END,
  PageAssets,
  pageHeaders,
  pageStart,
  readPageFiles,
  SHARED_FILES,
} from '../../../protocols/webdav/index.ts'

/** The scripts and styles of the page. */
export const ADMIN_ASSETS = new PageAssets([
  ...SHARED_FILES,
  ...readPageFiles(new URL('../page/', import.meta.url), [
    ...[
      'admin.css',
      'admin.js',
      'api.js',
      'clients.js',
      'jobs.js',
      'overview.js',
      'plots.js',
      'stack-picture.js',
      'tables.js',
    ],
    ...['verb-form.js', 'views.js'],
  ]),
])

/** The header fields of the page, names and values in turn. */
export const ADMIN_PAGE_HEADERS = pageHeaders(false)

const TABS = [
  ['overview', 'Overview'],
  ['views', 'Views'],
  ['clients', 'Clients'],
  ['usage', 'Usage'],
  ['jobs', 'Jobs'],
  ['verbs', 'All verbs'],
] as const

const tab = ([id, text]: (typeof TABS)[number]) =>
  `<button type="button" role="tab" id="tab-${id}" aria-controls="${id}" aria-selected="false" tabindex="-1">${text}</button>`

/** The page of the administrator. Its scripts do all by the API. */
export const ADMIN_PAGE =
  pageStart({
    ...{ title: 'overlayd', script: 'admin.js', account: undefined, assets: ADMIN_ASSETS },
    styles: ['page.css', 'dialogs.css', 'changes.css', 'admin.css'],
  }) +
  '<h1>overlayd</h1>\n' +
  `<div class="tabs" role="tablist" aria-label="Administration">${TABS.map(tab).join('')}</div>\n` +
  '<p id="message" role="alert" hidden></p>\n' +
  '<noscript><p>This page needs JavaScript. <a href="/api">The API</a> does the same.</p></noscript>\n' +
  TABS.map(([id]) => `<section role="tabpanel" id="${id}" aria-labelledby="tab-${id}" hidden></section>\n`).join('') +
  PAGE_END
