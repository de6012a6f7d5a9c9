/** What is used of the library: its table, from file extensions to media types. */
declare module 'mime-types' {
  export const types: Readonly<Record<string, string>>
}
