import { statusOf } from '../../../protocols/webdav/http/status.ts'

/** The status with which `call` refuses; undefined when it does not. */
export function refusal(call: () => unknown): number | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    return statusOf(error)
  }
}
