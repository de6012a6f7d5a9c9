import type { Decoder } from '../../xdr/decoder.ts'
import type { Encoder } from '../../xdr/encoder.ts'

const ALL_ONES = 0xffff_ffff

/** A `stateid4` (RFC 8881 section 8.2): a version, and 12 bytes that this server divides into the number of its run, the client and a serial number. */
export class Stateid {
  seqid = 0
  boot = 0
  client = 0
  serial = 0

  /** @throws XdrError */
  read(args: Decoder): this {
    const { view } = args
    const at = args.take(16)
    this.seqid = view.getUint32(at)
    this.boot = view.getUint32(at + 4)
    this.client = view.getUint32(at + 8)
    this.serial = view.getUint32(at + 12)
    return this
  }

  set({ seqid, boot, client, serial }: Stateid): void {
    this.seqid = seqid
    this.boot = boot
    this.client = client
    this.serial = serial
  }

  write(out: Encoder): void {
    const at = out.reserve(16)
    const { view } = out
    view.setUint32(at, this.seqid)
    view.setUint32(at + 4, this.boot)
    view.setUint32(at + 8, this.client)
    view.setUint32(at + 12, this.serial)
  }

  /** Which of the special stateids it is (section 8.2.3), if any. */
  get special(): 'anonymous' | 'bypass' | 'current' | 'invalid' | undefined {
    const { seqid, boot, client, serial } = this
    if (boot === 0 && client === 0 && serial === 0) {
      if (seqid === 0) return 'anonymous'
      return seqid === 1 ? 'current' : 'invalid'
    }
    if (boot === ALL_ONES && client === ALL_ONES && serial === ALL_ONES)
      return seqid === ALL_ONES ? 'bypass' : 'invalid'
    return undefined
  }

  clear(): void {
    this.seqid = 0
    this.boot = 0
    this.client = 0
    this.serial = 0
  }
}
