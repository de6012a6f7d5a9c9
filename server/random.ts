import { randomBytes } from 'node:crypto'

/** Returns `length` unpredictable bytes. */
export type RandomBytes = (length: number) => Uint8Array

/** Random bytes of the system. */
export const systemRandom: RandomBytes = (length) => randomBytes(length)
