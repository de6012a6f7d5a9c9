import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { newHash, PasswordFile, PasswordThread } from '../../../server/login/index.ts'
import { parsePasswordFile } from '../../../server/login/sources/password-lines.ts'

const line = (name: string, password: string) => `${name}:${newHash(password, Buffer.alloc(16, name))}\n`

async function opened(t: Test, text: string) {
  const path = join(t.testdir({}), 'users')
  writeFileSync(path, text, { mode: 0o600 })
  const messages: string[] = []
  const log = pino({ level: 'warn' }, { write: (entry: string) => void messages.push(JSON.parse(entry).msg) })
  const thread = new PasswordThread()
  const file = await PasswordFile.open(path, thread, log)
  t.teardown(async () => {
    await file.close()
    await thread.close()
  })
  return { path, file, messages }
}

t.test('the file is read again when it changes, and tells so', async (t) => {
  const { path, file } = await opened(t, line('alice', 'one'))
  let changes = 0
  file.onChange(() => changes++)
  t.match(await file.verify('alice', 'one', ''), { name: 'alice' })
  t.equal(await file.verify('alice', 'two', ''), 'wrong')
  t.equal(await file.verify('bob', 'one', ''), 'unknown')
  writeFileSync(`${path}.new`, line('alice', 'two') + line('bob', 'one'), { mode: 0o600 })
  renameSync(`${path}.new`, path)
  await file.refresh()
  t.equal(changes, 1)
  t.equal(await file.verify('alice', 'one', ''), 'wrong')
  t.match(await file.verify('bob', 'one', ''), { name: 'bob' })
  t.match(await file.lookup('bob'), { name: 'bob' })
  await file.refresh()
  t.equal(changes, 1, 'an unchanged file is not read')
})

t.test('a file that is missing, or that others can read, lets nobody in and says why', async (t) => {
  const { path, file, messages } = await opened(t, line('alice', 'one'))
  chmodSync(path, 0o604)
  await file.refresh()
  t.equal(await file.verify('alice', 'one', ''), 'unavailable')
  chmodSync(path, 0o600)
  await file.refresh()
  t.match(await file.verify('alice', 'one', ''), { name: 'alice' })
  rmSync(path)
  await file.refresh()
  await file.refresh()
  t.equal(await file.lookup('alice'), 'unavailable')
  t.equal(messages.length, 2, 'each once')
  t.match(messages[0], /cannot be read, so nobody in it can log in/)
})

t.test('an empty file knows nobody', async (t) => {
  const { file } = await opened(t, '')
  t.equal(await file.verify('alice', 'one', ''), 'unknown')
})

t.test('bad lines are left out and told with their number', async (t) => {
  const good = line('alice', 'one')
  const { entries, problems } = parsePasswordFile(
    `# users\n\n${good}bob:$apr1$xx$yy\n:x\na/b:x\n${good}no colon\r\ncarol:${good.split(':')[1]}`,
  )
  t.same([...entries.keys()], ['alice', 'carol'])
  t.match(problems, [
    /^line 4: the password of bob is an MD5 hash/,
    /^line 5: the name is empty/,
    /^line 6: "a\/b" contains a colon, a slash/,
    /^line 7: alice has two lines; remove one/,
    /^line 8: the password of no colon is no hash/,
  ])
})

t.test('an unknown name takes about as long as a wrong password', async (t) => {
  const { file } = await opened(t, line('alice', 'one'))
  await file.verify('alice', 'warm', '')
  const timeOf = async (name: string) => {
    const startMs = performance.now()
    await file.verify(name, 'wrong', '')
    return performance.now() - startMs
  }
  const [known, unknown] = [[] as number[], [] as number[]]
  for (let i = 0; i < 9; i++) {
    known.push(await timeOf('alice'))
    unknown.push(await timeOf(`user${i}`))
  }
  // The fastest of several, because other programs run too.
  const [least, other] = [Math.min(...known), Math.min(...unknown)]
  t.ok(other > least / 3 && other < least * 3, `${least} ms and ${other} ms`)
})

t.test('the thread refuses more than it can do, and its clients take turns', async (t) => {
  const thread = new PasswordThread()
  t.teardown(() => thread.close())
  const hash = newHash('one', Buffer.alloc(16))
  const order: string[] = []
  const tasks = Array.from({ length: 8 }, () => thread.verify('flood', 'x', hash).then(() => order.push('flood')))
  tasks.push(thread.verify('other', 'one', hash).then((right) => order.push(`other ${right}`)))
  await Promise.all(tasks)
  t.ok(order.indexOf('other true') <= 2, order.join(', '))
  const many = Array.from({ length: 400 }, async () => thread.verify('flood', 'x', hash))
  const refused = Promise.allSettled(many)
  await thread.close()
  t.ok(
    (await refused).every(({ status }) => status === 'rejected'),
    'closing ends those that wait',
  )
})
