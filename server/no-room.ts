const CODES: readonly string[] = ['ENOSPC', 'EDQUOT', 'EROFS']

/** Whether an error means that a disk is full or read-only, which must not stop the server. */
export function isNoRoom(error: unknown): boolean {
  return CODES.includes((error as NodeJS.ErrnoException).code ?? '')
}
