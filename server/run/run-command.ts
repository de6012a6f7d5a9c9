import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { RunRequest } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { OrderOf, ResultOf, VerbName } from '../admin/verbs/table.ts'
import { systemClock } from '../clock.ts'
import type { Output } from '../config-command.ts'
import { askServer, chooseConfigServer } from '../config-server.ts'
import type { Input } from '../confirm.ts'
import { printDifferences } from '../diff/diff-command.ts'
import { type RunFile, readRunFiles } from '../state-dir.ts'
import { runInFork } from './forked-mount.ts'

/** A server that cannot be reached. */
class Unreachable extends Error {}

type Ask = <Name extends VerbName>(name: Name, order: OrderOf<Name>) => Promise<ResultOf<Name>>

/**
 * `overlayd run --fork`: runs a command on a fork of a view, shows what it has changed, and keeps, promotes or drops that. Returns the exit status of the command; 1 if the server cannot be
 * reached.
 *
 * @throws OptionError it was refused; without a fork, or with one that is named
 */
export async function runOnFork(asked: RunRequest, input: Input, output: Output): Promise<number> {
  const { printError } = output
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  try {
    return await run(asked, server, input, output)
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    printError(`overlayd: server ${server.pid} ${error.message}\n`)
    return 1
  }
}

async function run(asked: RunRequest, server: RunFile, input: Input, output: Output): Promise<number> {
  const { view, command } = asked
  const ask: Ask = async (name, order) => {
    const answer = await askServer(server, name, order)
    if ('failure' in answer) throw new Unreachable(answer.failure)
    return answer.result
  }
  const made = await ask('view fork', { view, name: forkName(), sameOwner: true })
  const { path: fork, directory = '', lowerdir = [], userxattr = false } = made
  const mountpoint = await mkdtemp(join(tmpdir(), 'overlayd-run-'))
  let status: number
  try {
    status = await runInFork({ directory, lowerdir, userxattr }, mountpoint, command)
  } catch (error) {
    await ask('view remove', { view: fork })
    throw error
  } finally {
    await rmdir(mountpoint)
  }
  if (status !== 0) output.printError(`overlayd: the command ended with status ${status}\n`)
  await printDifferences({ ...asked, view: fork, against: view, paths: [], form: 'short', all: false }, output)
  const after = asked.after ?? (await whatNow(input, output)) ?? { kind: 'keep', name: undefined }
  await conclude({ view, fork, after, status }, ask, output)
  return status
}

function forkName(): string {
  const time = new Date(systemClock()).toISOString().slice(0, 19).replaceAll(':', '')
  return `run-${time}-${process.pid}`
}

/** Asks on a terminal. */
async function whatNow(input: Input, { printError }: Output): Promise<RunRequest['after']> {
  if (!input.isTTY) return undefined
  const lines = createInterface({ input })
  try {
    for (;;) {
      printError('Keep the fork, promote its changes to the view, or drop them? [k/p/d] ')
      const answer = (await lines.question('')).trim().toLowerCase()
      if (answer === 'p') return { kind: 'promote' }
      if (answer === 'd') return { kind: 'drop' }
      if (answer === 'k' || answer === '') return undefined
    }
  } finally {
    lines.close()
  }
}

async function conclude(
  {
    view,
    fork,
    after,
    status,
  }: { view: string; fork: string; after: NonNullable<RunRequest['after']>; status: number },
  ask: Ask,
  { print }: Output,
): Promise<void> {
  if (after.kind === 'drop') {
    await ask('view remove', { view: fork })
    print(`dropped what was changed; ${view} is as it was\n`)
  } else if (after.kind === 'keep' || status !== 0) {
    const path =
      after.kind === 'keep' && after.name !== undefined
        ? (await ask('view rename', { view: fork, to: after.name })).path
        : fork
    print(
      `kept ${path}; see overlayd diff ${path} --against ${view}, and remove it with overlayd view remove ${path}\n`,
    )
  } else {
    await promote(view, fork, ask, print)
  }
}

async function promote(view: string, fork: string, ask: Ask, print: (text: string) => void): Promise<void> {
  let merged: ResultOf<'view merge'>
  try {
    merged = await ask('view merge', { view: fork, name: view })
  } catch (error) {
    if (error instanceof OptionError) error.message += `; the fork is kept as ${fork}`
    throw error
  }
  await ask('view remove', { view: fork })
  const before = merged.aside === undefined ? '' : `; what it contained before is ${merged.aside}`
  print(`gave ${view} what was changed at ${merged.count ?? 0} paths${before}\n`)
}
