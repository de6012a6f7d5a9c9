import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { formatAddress } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Templates } from '../registry/templates.ts'
import type { BootDoor, TextAnswer } from './boot-door.ts'
import { readClaim } from './claim.ts'
import { sendFile } from './file-answer.ts'

/** How many kernels and initial RAM disks are sent at once. */
const MOST_TRANSFERS = 1024

/** What the routes need. */
export interface BootRouteParts {
  readonly door: BootDoor
  readonly templates: Templates
  readonly log: Logger
}

/** Adds the routes of the boot door. */
export function addBootRoutes(app: FastifyInstance, { door, templates, log }: BootRouteParts): void {
  let transfers = 0
  const script = async (
    request: FastifyRequest,
    reply: FastifyReply,
    view: string | undefined,
    form: 'ipxe' | 'grub',
  ) => {
    const claim = readClaim(request.query as Record<string, string | string[] | undefined>)
    if (typeof claim === 'string') return text(reply, { status: 400, text: `${claim}\n` })
    return text(reply, await door.script({ claim, address: addressOf(request), local: localOf(request), view, form }))
  }
  app.get('/boot.ipxe', (request, reply) => script(request, reply, undefined, 'ipxe'))
  app.get('/boot/grub.cfg', (request, reply) => script(request, reply, undefined, 'grub'))
  app.get('/boot/:script', (request, reply) => {
    const [, view] =
      /^([A-Za-z0-9_][A-Za-z0-9._-]{0,63})\.ipxe$/.exec((request.params as { script: string }).script) ?? []
    if (view === undefined) return text(reply, { status: 404, text: 'there is no such script; ask for /boot.ipxe\n' })
    return script(request, reply, view, 'ipxe')
  })
  const file = async (request: FastifyRequest, reply: FastifyReply) => {
    const { token, file } = request.params as { token: string; file: string }
    if (file !== 'kernel' && file !== 'initrd') return text(reply, { status: 404, text: 'there is no such file\n' })
    if (transfers >= MOST_TRANSFERS)
      return text(reply, { status: 503, text: 'too many machines boot at once; try again\n' })
    try {
      const boot = await door.redeem(token, addressOf(request), localOf(request).address)
      const view = boot && templates.get(boot.view)?.byId(boot.id)
      if (boot === undefined || view === undefined)
        return text(reply, { status: 403, text: 'this script is not valid here, or not any more; ask for a new one\n' })
      transfers++
      reply.raw.once('close', () => transfers--)
      return await sendFile(request, reply, view, boot.files[file])
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      log.error({ client: addressOf(request) }, error.message)
      return text(reply, { status: 503, text: `${error.message}\n` })
    }
  }
  app.route({ method: ['GET', 'HEAD'], url: '/boot/files/:token/:file', handler: file })
}

function text(reply: FastifyReply, { status, text }: TextAnswer): FastifyReply {
  return reply.code(status).header('cache-control', 'no-store').type('text/plain; charset=utf-8').send(text)
}

/** The address of the connection; what proxies report does not count, because NFS has none. */
function addressOf({ socket }: FastifyRequest): string {
  return withoutMapping(socket.remoteAddress ?? '')
}

function localOf({ socket }: FastifyRequest): { address: string; host: string } {
  const address = withoutMapping(socket.localAddress ?? '')
  return { address, host: formatAddress(address, socket.localPort ?? 0) }
}

/** An IPv4 address as a listener for IPv6 shows it, in its own form. */
function withoutMapping(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
}
