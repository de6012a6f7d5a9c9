import type { NlmHost } from './hosts.ts'
import type { NlmContext } from './nlm-context.ts'

/** Whether the host is on the list of those to be told of a restart, for good; when it cannot be put there it gets no lock, and may try again. */
export async function isMonitored(context: NlmContext, host: NlmHost): Promise<boolean> {
  if (!context.hosts.keep(host)) return false
  try {
    await context.monitor(host)
    return true
  } catch (error) {
    context.log.error({ err: error, client: host.address }, 'cannot record a client that holds locks')
    return false
  }
}
