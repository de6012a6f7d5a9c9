import type { FastifyInstance } from 'fastify'

/** Adds the page of the administrator at `/`. It is loaded when it is asked for, because most administrators use the command line. */
export function addAdminPage(app: FastifyInstance): void {
  app.get('/', async (_request, reply) => {
    const { ADMIN_PAGE, ADMIN_PAGE_HEADERS } = await import('./admin-page.ts')
    for (let i = 0; i < ADMIN_PAGE_HEADERS.length; i += 2)
      reply.header(ADMIN_PAGE_HEADERS[i] as string, ADMIN_PAGE_HEADERS[i + 1])
    return reply.type('text/html; charset=utf-8').send(ADMIN_PAGE)
  })
  app.get('/-/:version/:name', async (request, reply) => {
    const { ADMIN_ASSETS } = await import('./admin-page.ts')
    const file = ADMIN_ASSETS.find(request.url)
    if (file === undefined) return reply.callNotFound()
    return reply.header('x-content-type-options', 'nosniff').type(file.type).send(file.content)
  })
}
