import { bindSlow, call, type Native } from './call.ts'

let mallocTrim: Native<[pad: number]> | undefined

/** Makes the C library return unused memory to the system. Occupies a pool thread for some milliseconds. @throws Error not supported (musl) */
export async function giveMemoryBack(): Promise<void> {
  // Bound on first use, because not every C library has it.
  mallocTrim ??= bindSlow('int malloc_trim(size_t)')
  await call('malloc_trim', undefined, mallocTrim, 0)
}
