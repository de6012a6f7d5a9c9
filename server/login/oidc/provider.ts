import type { Configuration } from 'openid-client'
import type { Logger } from 'pino'
import type { OidcSettings } from '../../../config/index.ts'
import { readSecretFile } from '../sources/secret-file.ts'

/** How long a request to the provider may take. */
export const PROVIDER_TIMEOUT_MS = 5000
/** How long the configuration of the provider is used, and how long one that does not answer is left alone. */
const KNOWN_MS = 3_600_000
const DOWN_MS = 3000
/** How long it counts as there after it has answered. */
const UP_MS = 30_000

/** The provider cannot tell at present. */
export class ProviderDown extends Error {}

/** What the provider is found with. */
export interface ProviderParts {
  readonly settings: OidcSettings
  readonly log: Logger
  /** A monotonic clock, in ms. */
  readonly now: () => number
}

/** The OpenID provider: reads its configuration when it is first needed, and again every hour. */
export class Provider {
  readonly #parts: ProviderParts
  #known: { readonly configuration: Configuration; readonly untilMs: number } | undefined
  #finding: Promise<Configuration> | undefined
  #downUntilMs = Number.NEGATIVE_INFINITY
  #upUntilMs = Number.NEGATIVE_INFINITY

  constructor(parts: ProviderParts) {
    this.#parts = parts
  }

  /** The provider's configuration. Concurrent calls ask once. @throws ProviderDown */
  async configuration(): Promise<Configuration> {
    const { now } = this.#parts
    if (this.#known !== undefined && now() < this.#known.untilMs) return this.#known.configuration
    if (now() < this.#downUntilMs) return this.#last()
    return await this.#findOnce()
  }

  /** Whether it answered less than half a minute ago, or answers now. Never rejects. */
  async isUp(): Promise<boolean> {
    const { now } = this.#parts
    if (now() < this.#upUntilMs) return true
    if (now() < this.#downUntilMs) return false
    await this.#findOnce().catch(() => undefined)
    return now() < this.#upUntilMs
  }

  #findOnce(): Promise<Configuration> {
    this.#finding ??= this.#find().finally(() => {
      this.#finding = undefined
    })
    return this.#finding
  }

  /** What is still believed of a provider that does not answer. */
  #last(): Configuration {
    if (this.#known === undefined) throw new ProviderDown('the provider does not answer')
    return this.#known.configuration
  }

  async #find(): Promise<Configuration> {
    const { settings, log, now } = this.#parts
    try {
      const client = await import('openid-client')
      const execute = settings.issuer.startsWith('http:') ? [client.allowInsecureRequests] : []
      const timeout = PROVIDER_TIMEOUT_MS / 1000
      const { clientId = 'overlayd', clientSecretFile } = settings
      const secret = settings.clientSecret ?? (clientSecretFile && (await readSecretFile(clientSecretFile)))
      const authentication = secret === undefined ? client.None() : client.ClientSecretBasic(secret)
      const metadata = { [client.clockTolerance]: settings.clockSkewSec }
      const options = { execute, timeout }
      const url = new URL(settings.issuer)
      const configuration = await client.discovery(url, clientId, metadata, authentication, options)
      // The signature of an ID token counts, not only that it came from the address of the provider.
      client.enableNonRepudiationChecks(configuration)
      this.#known = { configuration, untilMs: now() + KNOWN_MS }
      this.#upUntilMs = now() + UP_MS
      return configuration
    } catch (error) {
      log.error(
        { err: error, issuer: settings.issuer },
        'the OpenID provider does not answer as one; its users cannot log in',
      )
      this.#downUntilMs = now() + DOWN_MS
      return this.#last()
    }
  }
}
