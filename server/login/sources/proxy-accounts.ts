import type { AccountSource, Verdict } from '../api/account.ts'
import { loginNameError } from './password-lines.ts'

/** The accounts of a proxy that verifies its users itself: every name that it names, without a secret. Never root, which is the user of this machine. */
export class ProxyAccounts implements AccountSource {
  readonly kind = 'proxy'

  async verify(): Promise<Verdict> {
    return 'unknown'
  }

  async lookup(name: string): Promise<Exclude<Verdict, 'wrong'>> {
    return loginNameError(name) === undefined && name !== 'root' ? { name, groups: [] } : 'unknown'
  }

  onChange(): void {
    // A proxy never tells.
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}
