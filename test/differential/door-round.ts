import { rmSync } from 'node:fs'
import { type Cred, FileType, mount, type Overlay, OverlayError, parseOptions } from '../../overlay-core/index.ts'
import { statxFd } from '../../overlay-core/sys/stat.ts'
import { type NfsServer, parseExport, startNfs } from '../../protocols/nfs/index.ts'
import { type Handle, NfsClient } from '../helpers/nfs-client.ts'
import { CoreView } from './core-view.ts'
import { indexEntryOf, KernelDoor, type KernelHandle } from './door-kernel.ts'
import { NfsDoor, toldAs } from './door-nfs.ts'
import { type DoorOperation, type DoorState, drawDoor, type Slot } from './door-operations.ts'
import type { DoorSide } from './door-side.ts'
import { KernelView, NotCompared } from './kernel-view.ts'
import { type LayerStack, makeLayers } from './layers.ts'
import * as native from './native.ts'
import { digest, NOT_COMPARED } from './operations.ts'
import { Random } from './random.ts'
import { coreMountString, mountString, type Settings } from './settings.ts'
import { differences, readTree } from './tree.ts'

const MS_NOATIME_NODEV = 1024 | 4
const COMPARE_EVERY = 30
const HANDLE_KEY = Buffer.alloc(32, 7)
const QUIET = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/** Where the two sides came apart. */
export interface DoorDivergence {
  readonly operations: readonly DoorOperation[]
  readonly difference: readonly string[]
}

/** What a finished round did. */
export interface DoorOutcome {
  readonly divergence: DoorDivergence | undefined
  readonly done: number
  readonly succeeded: number
}

/**
 * One round through NFSv3: calls by handles that are kept over renames, hard links, atomic saves and restarts of the server, compared with a kernel
 * overlay that is used by descriptors. With `operations` those are repeated, else they are drawn. Everything depends on `seed` only.
 */
export async function runDoorRound(
  scratch: string,
  settings: Settings,
  seed: number,
  operations?: readonly DoorOperation[],
): Promise<DoorOutcome> {
  const dir = `${scratch}/round`
  native.mkdir(dir, 0o755)
  const round = new DoorRound(dir, settings, seed)
  try {
    await round.start()
    return await round.run(operations)
  } finally {
    await round.end()
    rmSync(dir, { recursive: true })
  }
}

/** What a slot holds on each side; both or neither. */
interface Held {
  readonly kernel: KernelHandle
  readonly nfs: Handle
}

class Difference extends Error {}

class DoorRound implements DoorState {
  readonly #dir: string
  readonly #settings: Settings
  readonly #layerRandom: Random
  readonly #random: Random
  readonly #environment: { dentryLimit: number; listingLimit: number; fileLimit: number }
  readonly #slots = new Map<Slot, Held>()
  readonly #startedAt = Math.floor(Date.now() / 1000) - 1
  #lowers: readonly string[] = []
  #kernel: KernelDoor | undefined
  #overlay: Overlay | undefined
  #server: NfsServer | undefined
  #client: NfsClient | undefined
  #nfs: NfsDoor | undefined
  #present: ReadonlySet<string> | undefined
  readonly #names = new Map<Slot, readonly string[]>()

  constructor(dir: string, settings: Settings, seed: number) {
    const random = new Random(seed)
    this.#dir = dir
    this.#settings = settings
    this.#layerRandom = random.fork()
    this.#random = random.fork()
    const small = random.chance(50)
    this.#environment = {
      dentryLimit: small ? 5 : 10_000,
      listingLimit: small ? 20 : 100_000,
      fileLimit: small ? 2 : 100,
    }
  }

  async start(): Promise<void> {
    const layers: LayerStack = await makeLayers(this.#layerRandom, this.#dir, this.#settings)
    this.#lowers = layers.lowers
    native.mkdir(`${this.#dir}/mount`, 0o755)
    for (const i of [0, 1]) {
      native.mkdir(`${this.#dir}/work${i}`, 0o755)
      layers.fillUpper(`${this.#dir}/upper${i}`)
    }
    const options = mountString(this.#settings.mount, this.#lowers, `${this.#dir}/upper0`, `${this.#dir}/work0`)
    // The index knows then what a handle of knfsd would lead to.
    native.mount('overlay', `${this.#dir}/mount`, 'overlay', MS_NOATIME_NODEV, `${options},nfs_export=on`)
    this.#kernel = new KernelDoor(`${this.#dir}/mount`)
    await this.#serve()
    const client = this.#client as NfsClient
    this.#slots.set(0, { kernel: this.#kernel.root, nfs: await client.mount() })
  }

  async run(given: readonly DoorOperation[] | undefined): Promise<DoorOutcome> {
    const done: DoorOperation[] = []
    let succeeded = 0
    const planned: DoorOperation[] = []
    try {
      await this.#compareTrees()
      const count = given?.length ?? this.#settings.operations
      for (let i = 0; i < count; i++) {
        const operation = given?.[i] ?? this.#next(i, planned)
        done.push(operation)
        if (await this.#step(operation)) succeeded++
      }
      await this.#restart()
      await this.#compareHandles()
      await this.#compareTrees()
    } catch (error) {
      const text = error instanceof Difference ? error.message : error instanceof Error ? `${error.stack}` : `${error}`
      return { divergence: { operations: done, difference: text.split('\n') }, done: done.length, succeeded }
    }
    return { divergence: undefined, done: done.length, succeeded }
  }

  async end(): Promise<void> {
    await this.#stopServing()
    for (const { kernel } of this.#slots.values()) native.close(kernel.fd)
    if (!this.#slots.has(0) && this.#kernel) native.close(this.#kernel.root.fd)
    if (this.#kernel) native.umount(`${this.#dir}/mount`)
  }

  directories(): readonly Slot[] {
    return [...this.#slots].filter(([, { kernel }]) => kernel.type === FileType.directory).map(([slot]) => slot)
  }

  files(): readonly Slot[] {
    return [...this.#slots].filter(([, { kernel }]) => kernel.type !== FileType.directory).map(([slot]) => slot)
  }

  names(dir: Slot): readonly string[] {
    const known = this.#names.get(dir)
    if (known) return known
    const held = this.#slots.get(dir)
    const names = held && !this.#isAbsent(held) ? (this.#kernel as KernelDoor).names(held.kernel) : []
    this.#names.set(dir, names)
    return names
  }

  #next(i: number, planned: DoorOperation[]): DoorOperation {
    const waiting = planned.shift()
    if (waiting) return waiting
    if (i % COMPARE_EVERY === 0) return { uid: 0, op: 'compare' }
    this.#names.clear()
    planned.push(...drawDoor(this.#random, this))
    return planned.shift() as DoorOperation
  }

  /** Does one operation on both sides; whether it succeeded. */
  async #step(operation: DoorOperation): Promise<boolean> {
    if (operation.op === 'compare') {
      await this.#compareTrees()
      await this.#compareHandles()
      return true
    }
    if (operation.op === 'restart') {
      await this.#restart()
      return true
    }
    const used = slotsOf(operation).map((slot) => this.#slots.get(slot))
    if (used.some((held) => held === undefined)) return false
    const handles = used as Held[]
    let stale = false
    for (const held of handles) stale ||= await this.#isGone(held)
    const cred = credOf(operation.uid)
    const kernel: Result<KernelHandle> = stale
      ? { text: 'ESTALE' }
      : await perform(
          this.#kernel as KernelDoor,
          handles.map((held) => held.kernel),
          cred,
          operation,
        )
    if (kernel.text === NOT_COMPARED) return false
    this.#present = undefined
    const nfs = await perform(
      this.#nfs as NfsDoor,
      handles.map((held) => held.nfs),
      cred,
      operation,
    )
    if (toldAs(operation.op, kernel.text) !== nfs.text && !bothRefuse(operation, kernel.text, nfs.text)) {
      if (kernel.made) native.close(kernel.made.fd)
      throw new Difference(`kernel ${kernel.text}\noverlayd ${nfs.text}`)
    }
    if (kernel.made && nfs.made && 'into' in operation)
      this.#keep(operation.into, { kernel: kernel.made, nfs: nfs.made })
    return !/^E[A-Z0-9]+/.test(kernel.text)
  }

  #keep(slot: Slot, held: Held): void {
    const before = this.#slots.get(slot)
    if (before) native.close(before.kernel.fd)
    this.#slots.set(slot, held)
  }

  /**
   * Whether knfsd would answer that the handle is stale. An object without a name to be seen may have some that layers hide: as long as the index counts
   * those, as of a lower hard link, its handle goes on. A file of a lower alone is gone with its name, whatever links its layer counts; that the index says, too.
   */
  async #isGone(held: Held): Promise<boolean> {
    if (!this.#isAbsent(held)) return false
    const { fd, type } = held.kernel
    if (type === FileType.directory || statxFd(fd).nlink === 0) return true
    const entry = await indexEntryOf(`${this.#dir}/work0/index`, fd)
    return entry?.type === FileType.character
  }

  #isAbsent({ kernel }: Held): boolean {
    if ((this.#kernel as KernelDoor).hasItsName(kernel)) return false
    this.#present ??= (this.#kernel as KernelDoor).present()
    return !this.#present.has(kernel.id)
  }

  /** Every handle must still lead to its object. */
  async #compareHandles(): Promise<void> {
    for (const [slot] of this.#slots) await this.#step({ uid: 0, op: 'getattr', slot })
  }

  async #compareTrees(): Promise<void> {
    const view = new KernelView(`${this.#dir}/mount`)
    try {
      const [kernel, core] = [await readTree(view), await readTree(new CoreView(this.#overlay as Overlay))]
      const clock = { from: this.#startedAt, to: Math.floor(Date.now() / 1000) + 1 }
      const lines = differences(kernel, core, clock)
      if (lines.length > 0) throw new Difference(lines.join('\n'))
    } finally {
      view.close()
    }
  }

  async #restart(): Promise<void> {
    await this.#stopServing()
    await this.#serve()
  }

  async #serve(): Promise<void> {
    const [upper, work] = [`${this.#dir}/upper1`, `${this.#dir}/work1`]
    const options = coreMountString(this.#settings.mount, this.#lowers, upper, work)
    this.#overlay = await mount(parseOptions(options), this.#environment)
    this.#server = await startNfs({
      host: '127.0.0.1',
      port: 0,
      exports: [
        { name: 'overlay', overlay: this.#overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') },
      ],
      handleKey: HANDLE_KEY,
      writeVerifier: Buffer.alloc(8, 1),
      log: QUIET,
    })
    this.#client = await NfsClient.connect(this.#server.port)
    this.#nfs = new NfsDoor(this.#client)
  }

  async #stopServing(): Promise<void> {
    await this.#client?.close()
    await this.#server?.close()
    await this.#overlay?.unmount()
    this.#client = undefined
    this.#server = undefined
    this.#overlay = undefined
  }
}

function credOf(uid: number): Cred {
  return { uid, gid: uid, groups: uid === 0 ? [] : [2000] }
}

/** The slots whose handles a call takes, in the order of its arguments. */
function slotsOf(operation: DoorOperation): Slot[] {
  const slots: Slot[] = []
  if ('slot' in operation) slots.push(operation.slot)
  if ('dir' in operation) slots.push(operation.dir)
  if ('toDir' in operation) slots.push(operation.toDir)
  return slots
}

interface Result<H> {
  readonly text: string
  readonly made?: H
}

async function perform<H>(
  side: DoorSide<H>,
  handles: readonly H[],
  cred: Cred,
  operation: DoorOperation,
): Promise<Result<H>> {
  try {
    return await call(side, handles, cred, operation)
  } catch (error) {
    if (error instanceof NotCompared) return { text: NOT_COMPARED }
    if (error instanceof OverlayError) return { text: error.code }
    throw error
  }
}

const DONE = { text: 'done' } as const

async function call<H>(
  side: DoorSide<H>,
  handles: readonly H[],
  cred: Cred,
  operation: DoorOperation,
): Promise<Result<H>> {
  const [one, other] = handles as [H, H]
  switch (operation.op) {
    case 'find':
      return { ...DONE, made: await side.find(cred, one, operation.name) }
    case 'create':
    case 'mkdir':
    case 'mkfifo':
      return { ...DONE, made: await side.make(cred, operation.op, one, operation.name, operation.mode) }
    case 'symlink':
      return { ...DONE, made: await side.symlink(cred, one, operation.name, operation.target) }
    case 'getattr':
      return { text: statusText(await side.getattr(one)) }
    case 'readlink':
      return { text: await side.readlink(cred, one) }
    case 'list':
      return { text: JSON.stringify([...(await side.list(cred, one))].sort()) }
    case 'read':
      return { text: digest(await side.read(cred, one, operation.at)) }
    default:
      await change(side, [one, other], cred, operation)
      return DONE
  }
}

async function change<H>(side: DoorSide<H>, [one, other]: [H, H], cred: Cred, operation: DoorOperation): Promise<void> {
  switch (operation.op) {
    case 'setattr':
      return await side.setattr(cred, one, operation.change)
    case 'write':
      return await side.write(cred, one, operation.at, Buffer.from(operation.data, 'latin1'))
    case 'link':
      return await side.link(cred, one, other, operation.name)
    case 'remove':
    case 'rmdir':
      return await side.remove(cred, operation.op, one, operation.name)
    case 'rename':
      return await side.rename(cred, one, operation.name, other, operation.toName)
  }
}

function statusText({ type, mode, nlink, uid, gid, size }: Awaited<ReturnType<DoorSide<unknown>['getattr']>>): string {
  const counted = type === 'directory' ? '' : ` links ${nlink} size ${size}`
  return `${type} ${mode.toString(8)} ${uid}:${gid}${counted}`
}

/** Without a right nfsd and setattr(2) look for the others in another order. */
function bothRefuse({ op }: DoorOperation, ...answers: string[]): boolean {
  return op === 'setattr' && answers.every((answer) => answer === 'EPERM' || answer === 'EACCES')
}
