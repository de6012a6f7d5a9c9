/** What the commands that look at a server and its clients ask for. */
export type AdminOrder =
  | {
      readonly verb: 'who'
      readonly order: { readonly view?: string; readonly user?: string; readonly client?: string }
    }
  | { readonly verb: 'kick'; readonly order: { readonly client?: string; readonly user?: string } }
  | {
      readonly verb: 'lock list'
      readonly order: {
        readonly view?: string
        readonly user?: string
        readonly client?: string
        readonly limit?: number
      }
    }
  | { readonly verb: 'lock break'; readonly order: { readonly id: string } }
  | { readonly verb: 'quota show'; readonly order: { readonly view?: string; readonly user?: string } }
  | {
      readonly verb: 'quota set'
      readonly order: {
        readonly view: string
        readonly bytes?: number
        readonly softBytes?: number
        readonly files?: number
        readonly softFiles?: number
        readonly inherit?: boolean
      }
    }
  | {
      readonly verb: 'usage'
      readonly order: {
        readonly template?: string
        readonly view?: string
        readonly limit?: number
        readonly count?: boolean
      }
    }
  | { readonly verb: 'job list'; readonly order: Record<never, never> }
  | { readonly verb: 'job show' | 'job cancel'; readonly order: { readonly id: string } }
  | { readonly verb: 'top'; readonly order: { readonly seconds: number; readonly once: boolean } }

/** What such a command is told. */
export type AdminRequest = AdminOrder & {
  /** Whether nothing is asked. */
  readonly yes: boolean
  readonly json: boolean
  readonly pid: number | undefined
  readonly stateDir: string
}
