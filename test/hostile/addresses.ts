/** Who is where on the loopback interface. */
export const ADDRESSES = {
  /** Exported clients. */
  attacker: '127.0.0.2',
  victim: '127.0.0.3',
  probe: '127.0.0.9',
  newcomer: '127.0.0.10',
  /** Nobody exports anything to this one and its neighbours. */
  outsider: '127.0.1.1',
} as const

/** What is exported to whom. */
export const EXPORTS = '127.0.0.0/24(rw,root_squash,insecure,sync)'

/** The exported client `number`, from 20 on: for attacks by many. */
export function exportedClient(number: number): string {
  return `127.0.0.${20 + (number % 200)}`
}

/** An outsider of its own. */
export function outsider(number: number): string {
  return `127.${1 + Math.floor(number / 60_000)}.${1 + (Math.floor(number / 250) % 240)}.${1 + (number % 250)}`
}
