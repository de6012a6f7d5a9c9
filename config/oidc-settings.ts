/** The provider of the source `oidc`, and what its claims mean. */
export interface OidcSettings {
  /** The URL by which the provider calls itself. */
  readonly issuer: string
  /** As which client browsers log in; undefined: they do not. */
  readonly clientId: string | undefined
  readonly clientSecret: string | undefined
  /** Absolute. */
  readonly clientSecretFile: string | undefined
  readonly scopes: readonly string[]
  /** How long a browser stays logged in. */
  readonly sessionMs: number
  /** Whether a logout ends the login at the provider too, if it offers that. */
  readonly providerLogout: boolean
  /** For whom Bearer tokens may be made out; empty: none are accepted. */
  readonly audiences: readonly string[]
  /** The claim with the login name, and that with the names of groups. */
  readonly userClaim: string
  readonly groupsClaim: string
  /** By how much clocks may differ. */
  readonly clockSkewSec: number
}
