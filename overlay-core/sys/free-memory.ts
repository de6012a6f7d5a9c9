import { bindSlow, call, type Native } from './call.ts'

let mallocTrim: Native<[pad: number]> | undefined

/** Has the C library give memory back to the system that it only keeps for reuse. Takes some milliseconds of a thread of the pool. @throws Error it cannot (musl) */
export async function giveMemoryBack(): Promise<void> {
  // Bound when first needed: not every C library has it.
  mallocTrim ??= bindSlow('int malloc_trim(size_t)')
  await call('malloc_trim', undefined, mallocTrim, 0)
}
