import { type MountOptions, openStack, type Stack, type StackMemory } from '../../overlay-core/index.ts'

/** So many stacks stay open: views may lie on different versions of the layers. */
const MOST_OPEN = 16

/** The stacks on which the views of a template are mounted, each opened with the first view on it, and what outlives them. */
export class SharedStack {
  readonly #openMemory: () => Promise<StackMemory>
  #memory: Promise<StackMemory> | undefined
  /** By their lowers, the one used last at the end. */
  readonly #stacks = new Map<string, Promise<Stack>>()
  /** The closes of earlier stacks, which wait for the views on them. */
  readonly #closing = new Set<Promise<void>>()

  /** @param openMemory opens what outlives the stacks */
  constructor(openMemory: () => Promise<StackMemory>) {
    this.#openMemory = openMemory
  }

  /** The stack with the lowers of `options`. @throws OptionError a directory is missing, unreadable or nested */
  of(options: MountOptions): Promise<Stack> {
    const key = keyOf(options)
    const stack = this.#stacks.get(key) ?? this.#open(options)
    this.#stacks.delete(key)
    this.#stacks.set(key, stack)
    const [oldest] = this.#stacks.keys()
    if (this.#stacks.size > MOST_OPEN && oldest !== undefined) this.#end(oldest)
    stack.catch(() => {
      if (this.#stacks.get(key) === stack) this.#stacks.delete(key)
    })
    return stack
  }

  async #open(options: MountOptions): Promise<Stack> {
    this.#memory ??= this.#openMemory().catch((error: unknown) => {
      this.#memory = undefined
      throw error
    })
    return await openStack(options, { memory: await this.#memory })
  }

  /** Opens all stacks anew for views that are mounted from now on. Those in use are closed when the views on them have left. */
  endAll(): void {
    for (const key of [...this.#stacks.keys()]) this.#end(key)
  }

  /** Closes them. Call it when the views are closed. @throws the error of the disk */
  async close(): Promise<void> {
    this.endAll()
    await Promise.all(this.#closing)
    const memory = this.#memory
    this.#memory = undefined
    if (memory) await (await memory).close()
  }

  #end(key: string): void {
    const stack = this.#stacks.get(key)
    this.#stacks.delete(key)
    if (stack === undefined) return
    const closed = stack.then(
      (open) => open.close(),
      // It was never open.
      () => undefined,
    )
    this.#closing.add(closed)
    void closed.finally(() => this.#closing.delete(closed))
  }
}

function keyOf({ lowerdir, datadir }: MountOptions): string {
  return JSON.stringify([lowerdir, datadir])
}
