import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { bashCompletion } from '../../config/completion-scripts.ts'
import { completedCommands, followerOf } from '../../config/completion-table.ts'
import { SYNOPSIS } from '../../config/manual.ts'

const script = fileURLToPath(new URL('../../deploy/completion/overlayd.bash', import.meta.url))

/** What bash offers after `line`; its last word is the one that is completed. */
async function offered(line: string): Promise<string[]> {
  const program = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _overlayd; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout } = await promisify(execFile)('bash', ['-c', program, 'bash', script, ...line.split(' ')], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  })
  return stdout.split('\n').filter((word) => word !== '')
}

t.test('every command of the synopsis is completed', async (t) => {
  const words = new Set(completedCommands().map((command) => command.words.split(' ')[0]))
  for (const usage of SYNOPSIS.flatMap((line) => line.split(' | '))) {
    const [, word = ''] = usage.split(' ')
    if (/^[a-z]/.test(word)) t.ok(words.has(word), usage)
  }
})

t.test('bash completes commands, their verbs and their options', async (t) => {
  t.same(await offered('overlayd vi'), ['view'])
  t.same(await offered('overlayd view re'), ['remove', 'rename'])
  t.same(await offered('overlayd view remove --j'), ['--json'])
  t.same(await offered('overlayd diff course/alice --st'), ['--stat', '--state-dir'])
  t.ok((await offered('overlayd --tls')).includes('--tls-client-ca'))
  t.notOk((await offered('overlayd diff --')).includes('--webdav'), 'options of another command are not offered')
  t.ok((await offered('overlayd --pid 7 view ')).includes('create'), 'the value of an option is no command')
})

t.test('bash completes the values of options: choices, files and directories', async (t) => {
  t.same(await offered('overlayd --locks '), ['advisory', 'mandatory'])
  t.same(await offered('overlayd serve --config deploy/overlayd.t'), ['deploy/overlayd.toml'])
  t.same(await offered('overlayd --state-dir depl'), ['deploy'])
  t.same(await offered('overlayd config check deploy/overlayd.t'), ['deploy/overlayd.toml'])
})

t.test('the notation of a value says what can follow', async (t) => {
  const follows = (value: string | undefined) => followerOf({ name: '--x', meaning: 'X.', ...(value && { value }) })
  t.same(follows(undefined), { kind: 'none' })
  t.same(follows('FILE'), { kind: 'file' })
  t.same(follows('DIR'), { kind: 'directory' })
  t.same(follows('HOST:PORT|off'), { kind: 'words', words: ['off'] })
  t.same(follows('PID'), { kind: 'any' })
})

t.test('a text of the manual cannot end a quotation of the script', async (t) => {
  const option = { name: '--x', value: "it's", meaning: 'X.' }
  t.match(bashCompletion([{ words: 'a', options: [option] }]), /_overlayd/)
})
