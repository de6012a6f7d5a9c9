import type { Random } from '../differential/random.ts'

/** Numbers at which lengths, counts, offsets and enums tend to break. */
const WORDS = [
  ...[0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 63, 64, 65, 127, 128, 255, 256, 1023, 1024, 4095, 4096, 65535, 65536],
  ...[
    0x10_0000, 0x10_0001, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_fffc, 0xffff_fffe, 0xffff_ffff, 0x1f_ffff,
    0x20_0000,
  ],
]

/** Names that must never leave their directory, or that file systems treat in a special way. */
const NAMES = [
  '',
  '.',
  '..',
  '/',
  'a/b',
  '../../etc/passwd',
  '\0',
  'a\0b',
  'file',
  'dir',
  '.wh.x',
  '\xff\xfe',
  'n'.repeat(255),
  'n'.repeat(256),
]

/** Takes over a piece of somebody else's bytes, to have what belongs together stand elsewhere. */
export type Donor = () => Buffer

/** `bytes` with one to four changes. */
export function mutate(random: Random, bytes: Buffer, donor: Donor): Buffer {
  let result: Buffer = Buffer.from(bytes)
  for (let changes = 1 + random.below(4); changes > 0; changes--) result = change(random, result, donor)
  return result
}

function change(random: Random, bytes: Buffer, donor: Donor): Buffer {
  const words = bytes.length >> 2
  const word = 4 * random.below(Math.max(1, words))
  switch (random.weighted({ word: 30, bit: 20, name: 10, cut: 10, insert: 10, remove: 5, splice: 10, repeat: 5 })) {
    case 'word':
      return words === 0
        ? wordOf(random)
        : Buffer.concat([bytes.subarray(0, word), wordOf(random), bytes.subarray(word + 4)])
    case 'bit':
      if (bytes.length > 0) bytes[random.below(bytes.length)] ^= 1 << random.below(8)
      return bytes
    case 'name':
      return Buffer.concat([
        bytes.subarray(0, word),
        opaque(Buffer.from(random.pick(NAMES), 'latin1')),
        bytes.subarray(word),
      ])
    case 'cut':
      return bytes.subarray(0, random.below(bytes.length + 1))
    case 'insert':
      return Buffer.concat([
        bytes.subarray(0, word),
        noise(random, random.pick([1, 3, 4, 8, 64, 4096])),
        bytes.subarray(word),
      ])
    case 'remove':
      return Buffer.concat([bytes.subarray(0, word), bytes.subarray(word + 4 * (1 + random.below(4)))])
    case 'splice': {
      const other = donor()
      const from = 4 * random.below(Math.max(1, other.length >> 2))
      return Buffer.concat([bytes.subarray(0, word), other.subarray(from)])
    }
    case 'repeat':
      return Buffer.concat([bytes.subarray(0, word), bytes.subarray(word), bytes.subarray(word)])
  }
}

function wordOf(random: Random): Buffer {
  const word = Buffer.alloc(4)
  word.writeUInt32BE(random.chance(80) ? random.pick(WORDS) : random.below(2 ** 32))
  return word
}

function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)))
}

function opaque(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes, Buffer.alloc(-bytes.length & 3)])
}

/** `message` as a record of one or several fragments, some of them empty. */
export function fragment(random: Random, message: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const length = random.chance(60) ? message.length - at : random.below(Math.min(message.length - at, 200) + 1)
    const last = at + length === message.length
    const mark = Buffer.alloc(4)
    mark.writeUInt32BE(last ? length + 0x8000_0000 : length)
    parts.push(mark, message.subarray(at, at + length))
    at += length
    if (last) return Buffer.concat(parts)
    if (parts.length > 64) return Buffer.concat([...parts, fragment(random.fork(), message.subarray(at))])
  }
}
