import { parseExport } from '../protocols/nfs/index.ts'

/** What is wrong with clients in the syntax of exports(5); undefined when nothing is. */
export function exportError(text: string): string | undefined {
  try {
    parseExport(text)
    return undefined
  } catch (error) {
    if (error instanceof Error) return error.message.replace(/^export: /, '')
    throw error
  }
}
