import { parseExport } from '../protocols/nfs/index.ts'

/** The error in a list of clients in the syntax of exports(5); undefined if it is valid. */
export function exportError(text: string): string | undefined {
  try {
    parseExport(text)
    return undefined
  } catch (error) {
    if (error instanceof Error) return error.message.replace(/^export: /, '')
    throw error
  }
}
