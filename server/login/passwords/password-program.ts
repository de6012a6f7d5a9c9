import { parentPort } from 'node:worker_threads'
import { isPassword } from './check-password.ts'
import { newHash } from './password-hash.ts'

/** A task of the thread that hashes passwords. */
export type PasswordTask =
  | { readonly id: number; readonly kind: 'verify'; readonly password: string; readonly hash: string }
  | { readonly id: number; readonly kind: 'hash'; readonly password: string; readonly salt: Uint8Array }

/** Its result: whether the password is right, or the new hash; undefined if the task failed. */
export interface PasswordResult {
  readonly id: number
  readonly value: boolean | string | undefined
}

function resultOf(task: PasswordTask): PasswordResult['value'] {
  try {
    return task.kind === 'verify' ? isPassword(task.password, task.hash) : newHash(task.password, task.salt)
  } catch {
    // No memory: the password counts as not checked.
    return undefined
  }
}

parentPort?.on('message', (task: PasswordTask) => {
  parentPort?.postMessage({ id: task.id, value: resultOf(task) } satisfies PasswordResult)
})
