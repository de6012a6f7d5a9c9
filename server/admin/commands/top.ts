import { setTimeout as sleep } from 'node:timers/promises'
import type { Output } from '../../config-command.ts'
import type { Course } from '../../history.ts'
import type { RunFile } from '../../state-dir.ts'
import type { ServerStatus } from '../../status.ts'
import { AdminClient } from '../client/admin-client.ts'
import type { ClientRow } from '../clients/who.ts'
import { whoText } from './result-text.ts'
import { sizeText } from './text-table.ts'

/** The clients that are shown. */
const MOST_CLIENTS = 15

/** One look at a server. */
export interface Look {
  readonly status: ServerStatus
  readonly clients: readonly ClientRow[]
  readonly course: Course
}

/** `overlayd top`: shows what a server does, again and again until Ctrl-C. Returns the exit status: 1 if the server cannot be reached any more. */
export async function top(
  { pid, admin }: RunFile,
  { seconds, once }: { readonly seconds: number; readonly once: boolean },
  { print, printError }: Output,
): Promise<number> {
  const live = !once && process.stdout.isTTY === true
  const client = await AdminClient.to(admin)
  try {
    for (;;) {
      const [status, clients, course] = await Promise.all([
        client.run('status', {}),
        client.run('who', { seconds: 600 }),
        client.run('history', {}),
      ])
      print(`${live ? '\u001b[H\u001b[J' : ''}${topText({ status, clients, course })}`)
      if (!live) return 0
      await sleep(seconds * 1000)
    }
  } catch (error) {
    printError(`overlayd: server ${pid} does not answer any more (${(error as Error).message})\n`)
    return 1
  } finally {
    await client.close()
  }
}

/** One screen. */
export function topText({ status, clients, course }: Look): string {
  const latest = (numbers: readonly number[]) => numbers.at(-1) ?? 0
  const perSecond = (numbers: readonly number[]) => latest(numbers).toFixed(latest(numbers) < 10 ? 1 : 0)
  const views = status.views.reduce((sum, { template }) => sum + (template?.views ?? 1), 0)
  return `overlayd ${status.version}, process ${status.pid}, ${sizeText(status.memoryBytes)}, busy ${Math.round(latest(course.busy) * 100)} %
nfs ${perSecond(course.nfsCalls)} calls/s · webdav ${perSecond(course.webdavRequests)} requests/s · in ${sizeText(Math.round(latest(course.bytesIn)))}/s · out ${sizeText(Math.round(latest(course.bytesOut)))}/s (mean of ${course.stepSeconds} s)
${latest(course.connections)} connections · ${views} views, ${latest(course.openViews)} open

${whoText(clients.slice(0, MOST_CLIENTS))}`
}
