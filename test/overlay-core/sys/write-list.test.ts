import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LIST_PIECES, pwriteList, WRITES_LISTS } from '../../../overlay-core/sys/write-list.ts'

function scratchFile(t: Test, flags = 'w+'): { fd: number; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'overlayd-write-list-'))
  const path = join(folder, 'file')
  if (flags === 'r') closeSync(openSync(path, 'w'))
  const fd = openSync(path, flags)
  t.teardown(() => {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  return { fd, path }
}

const piece = (text: string, position: number) => ({ data: Buffer.from(text), position })

if (WRITES_LISTS) {
  t.test('a list writes each piece at its position, and overlapping pieces in order', async (t) => {
    const { fd, path } = scratchFile(t)
    await pwriteList(fd, [piece('tail', 9), piece('aaaa', 0), piece('bb', 2), piece('', 1), piece('c', 4)])
    t.equal(readFileSync(path, 'latin1'), 'aabbc\0\0\0\0tail')
  })

  t.test('many full lists of parts of larger buffers are written at a time', async (t) => {
    const { fd, path } = scratchFile(t)
    const source = Buffer.alloc(4096 * LIST_PIECES * 8)
    for (let i = 0; i < source.length; i += 4) source.writeUInt32LE((i * 2654435761) >>> 0, i)
    const lists = Array.from({ length: 8 }, (_, list) =>
      Array.from({ length: LIST_PIECES }, (_, i) => {
        const position = (list * LIST_PIECES + ((i * 37) % LIST_PIECES)) * 4096
        return { data: source.subarray(position, position + 4096), position }
      }),
    )
    await Promise.all(lists.map((pieces) => pwriteList(fd, pieces)))
    t.ok(readFileSync(path).equals(source))
  })

  t.test('the error of a piece that cannot be written is reported', async (t) => {
    const { fd } = scratchFile(t, 'r')
    await t.rejects(pwriteList(fd, [piece('a', 0), piece('b', 5)]), { code: 'EBADF' })
    await t.rejects(pwriteList(fd, [piece('a', 2 ** 60)]), { code: 'EFBIG' })
  })
} else {
  t.test('lists are not used without glibc', async (t) => t.notOk(WRITES_LISTS))
}
