import { readMac, readSerial, readUuid } from '../../config/index.ts'

/** Who a machine says that it is. Everything in it is checked: it can be printed, and be a part of a script. */
export interface Claim {
  readonly mac: string | undefined
  readonly uuid: string | undefined
  readonly serial: string | undefined
  readonly key: string | undefined
}

const LONGEST = 200
/** What firmware says that has no UUID. */
const NO_UUID = /^([0f])\1{7}(-\1{4}){3}-\1{12}$/
/** What firmware says that has no serial number. */
const NO_SERIAL =
  /^(none|n\/a|default string|not specified|system serial number|to be filled by o\.?e\.?m\.?|0+|1234567890?)$/i

/** Reads the query of a boot script. @returns what is wrong with it as a text */
export function readClaim(query: Readonly<Record<string, string | readonly string[] | undefined>>): Claim | string {
  for (const name of ['mac', 'uuid', 'serial', 'key']) {
    const value = query[name]
    if (value !== undefined && typeof value !== 'string') return `${name} is given twice; give it once`
    if (value !== undefined && value.length > LONGEST) return `${name} is longer than ${LONGEST} characters`
  }
  const { mac = '', uuid = '', serial = '', key } = query as Readonly<Record<string, string | undefined>>
  const address = readMac(mac)
  if (mac !== '' && address === undefined) return 'mac is not a MAC address; give six pairs of hexadecimal digits'
  const id = readUuid(uuid)
  const number = readSerial(serial)
  return {
    mac: address,
    uuid: id === undefined || NO_UUID.test(id) ? undefined : id,
    serial: number === undefined || NO_SERIAL.test(number) ? undefined : number,
    key: key === undefined || !/^[A-Za-z0-9_-]{1,128}$/.test(key) ? undefined : key,
  }
}

/** Whether nothing in it says which machine it is. */
export function isEmpty({ mac, uuid, serial }: Claim): boolean {
  return mac === undefined && uuid === undefined && serial === undefined
}

/** The name of a machine that is in no list. */
export function nameOfUnknown({ mac, uuid }: Claim): string | undefined {
  if (mac !== undefined) return `m-${mac.replaceAll(':', '')}`
  return uuid === undefined ? undefined : `u-${uuid.replaceAll('-', '')}`
}
