import type { Test } from 'tap'
import type { Tree } from '../../helpers/overlay.ts'
import { type Answer, type Dav, type DavSettings, lockInfo, tokenOf, withDav } from './dav-fixture.ts'

/** One request of a rule, and what the answer must be. In fields and bodies `{NAME}` stands for what an earlier step took. */
export interface Step {
  readonly ask: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly status: number
  /** What the answer's body must match, and must not. */
  readonly has?: RegExp
  readonly lacks?: RegExp
  /** Fields that the answer must have, by pattern; undefined: must not have. */
  readonly fields?: Readonly<Record<string, RegExp | undefined>>
  /** Keeps the lock token or the ETag of the answer under this name. */
  readonly token?: string
  readonly etag?: string
}

/** A sentence of a standard with requests that show it. */
export interface Rule {
  readonly rule: string
  readonly steps: readonly Step[]
  readonly tree?: Tree
  readonly settings?: DavSettings
}

/** What every rule starts from unless it brings a tree of its own. */
const TREE: Tree = { 'd/a': 'inside', 'd/sub/b': 'deep', f: 'content', g: 'other', 'e/': '' }

/** A step that takes a lock and keeps its token as `token`. */
export function takeLock(
  path: string,
  token: string,
  { depth = 'infinity', scope = 'exclusive' }: { depth?: string; scope?: 'exclusive' | 'shared' } = {},
  status = 200,
): Step {
  return { ask: `LOCK ${path}`, headers: { depth }, body: lockInfo(scope), status, token }
}

/** Runs each rule on a fresh server. */
export function testRules(t: Test, rules: readonly Rule[]): void {
  for (const { rule, steps, tree = TREE, settings = {} } of rules) {
    t.test(rule, (t) => withDav(t, [tree], (dav) => follow(t, dav, steps), settings))
  }
}

async function follow(t: Test, dav: Dav, steps: readonly Step[]): Promise<void> {
  const taken = new Map<string, string>([['PORT', String(dav.port)]])
  const fill = (text: string) => text.replace(/\{([A-Z]\w*)\}/g, (all, name: string) => taken.get(name) ?? all)
  for (const step of steps) {
    const [method, path] = step.ask.split(' ') as [string, string]
    const headers = Object.fromEntries(Object.entries(step.headers ?? {}).map(([name, value]) => [name, fill(value)]))
    const answer = await dav.ask(method, path, {
      headers,
      ...(step.body === undefined ? {} : { body: fill(step.body) }),
    })
    judge(t, step, answer)
    if (step.token !== undefined) taken.set(step.token, tokenOf(answer))
    if (step.etag !== undefined) taken.set(step.etag, String(answer.headers.etag))
  }
}

function judge(t: Test, step: Step, answer: Answer): void {
  const what = `${step.ask} ${JSON.stringify(step.headers ?? {})}`
  t.equal(answer.status, step.status, `${what}: ${answer.body.slice(0, 300)}`)
  if (step.has !== undefined) t.match(answer.body, step.has, `${what}: body`)
  if (step.lacks !== undefined) t.notMatch(answer.body, step.lacks, `${what}: body`)
  for (const [name, pattern] of Object.entries(step.fields ?? {})) {
    if (pattern === undefined) t.notOk(name in answer.headers, `${what}: no ${name}`)
    else t.match(String(answer.headers[name]), pattern, `${what}: ${name}`)
  }
}
