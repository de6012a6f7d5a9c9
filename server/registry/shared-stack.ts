import { type MountOptions, openStack, type Stack, type StackMemory } from '../../overlay-core/index.ts'

/** The stack on which all views of a template are mounted, opened with the first of them, and what outlives it. */
export class SharedStack {
  readonly #openMemory: () => Promise<StackMemory>
  #memory: Promise<StackMemory> | undefined
  #stack: Promise<Stack> | undefined
  #options: MountOptions | undefined
  /** The closes of earlier stacks, which wait for the views on them. */
  readonly #closing = new Set<Promise<void>>()

  /** @param openMemory opens what outlives the stack */
  constructor(openMemory: () => Promise<StackMemory>) {
    this.#openMemory = openMemory
  }

  /** The stack with the lowers of `options`. @throws OptionError a directory is missing, unreadable or nested */
  of(options: MountOptions): Promise<Stack> {
    if (this.#options !== undefined && !hasSameLowers(this.#options, options)) this.#end()
    this.#options = options
    this.#stack ??= this.#open(options).catch((error: unknown) => {
      this.#stack = undefined
      throw error
    })
    return this.#stack
  }

  async #open(options: MountOptions): Promise<Stack> {
    this.#memory ??= this.#openMemory().catch((error: unknown) => {
      this.#memory = undefined
      throw error
    })
    return await openStack(options, { memory: await this.#memory })
  }

  /** Closes it. Call it when the views are closed. @throws the error of the disk */
  async close(): Promise<void> {
    this.#end()
    await Promise.all(this.#closing)
    const memory = this.#memory
    this.#memory = undefined
    if (memory) await (await memory).close()
  }

  #end(): void {
    const stack = this.#stack
    this.#stack = undefined
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

function hasSameLowers(one: MountOptions, other: MountOptions): boolean {
  const lowers = ({ lowerdir, datadir }: MountOptions) => JSON.stringify([lowerdir, datadir])
  return lowers(one) === lowers(other)
}
