/** An ordered list of text records that survives the process. */
export interface Journal {
  /** The records at the start, oldest first; returned once. */
  takeRecords(): readonly string[]
  /** Resolves when the record is durable. If it rejects, the record was not stored and never will be. */
  append(record: string): Promise<void>
  /** Allows the journal to be rewritten whenever most of it is obsolete. */
  keepShort(live: LiveRecords): void
}

/** The present contents of a journal. */
export interface LiveRecords {
  /** The approximate number of records. */
  count(): number
  /** Records equivalent to everything appended so far. The underlying data must not change during the iteration. */
  records(): Iterable<string>
  /** Called if the journal cannot be rewritten; it then continues to grow. */
  failed(error: unknown): void
}
