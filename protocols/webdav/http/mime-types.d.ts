/** The part of the library that is used: its table of media types by file extension. */
declare module 'mime-types' {
  export const types: Readonly<Record<string, string>>
}
