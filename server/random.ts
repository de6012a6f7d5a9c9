import { randomBytes } from 'node:crypto'

/** Gives `length` unguessable bytes. */
export type RandomBytes = (length: number) => Uint8Array

/** Random bytes of the system. */
export const systemRandom: RandomBytes = (length) => randomBytes(length)
