/** The provider of the source `oidc`, and what its claims mean. */
export interface OidcSettings {
  /** The URL by which the provider calls itself. */
  readonly issuer: string
  /** For whom Bearer tokens may be made out; empty: none are accepted. */
  readonly audiences: readonly string[]
  /** The claim with the login name, and that with the names of groups. */
  readonly userClaim: string
  readonly groupsClaim: string
  /** By how much clocks may differ. */
  readonly clockSkewSec: number
}
