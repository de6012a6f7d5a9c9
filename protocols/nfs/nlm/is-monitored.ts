import type { NlmHost } from './hosts.ts'
import type { NlmContext } from './nlm-context.ts'

/** Whether the host is durably on the list of hosts to notify of a restart. If it cannot be added, it gets no lock and may retry. */
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
