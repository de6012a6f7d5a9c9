/** Records of text that outlive the process, in their order. */
export interface Journal {
  /** What was there at the start, oldest first; handed over once. */
  takeRecords(): readonly string[]
  /** Resolves when the record is durable. When it rejects, the record was not noted and never will be. */
  append(record: string): Promise<void>
  /** From now on the journal may be written anew whenever most of it no longer counts. */
  keepShort(live: LiveRecords): void
}

/** What of a journal counts now. */
export interface LiveRecords {
  /** About how many records. */
  count(): number
  /** The records that say what all that were appended so far say. What this iterates over must not change afterwards. */
  records(): Iterable<string>
  /** Told when the journal could not be written anew; it goes on growing. */
  failed(error: unknown): void
}
