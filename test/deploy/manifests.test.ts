import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { plainly } from '../server/launch.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))
const kubernetes = join(top, 'deploy/kubernetes')
/** The module of the package kubernetes-types that declares a kind. */
const MODULES: Readonly<Record<string, string>> = {
  v1: 'core/v1',
  'apps/v1': 'apps/v1',
  'networking.k8s.io/v1': 'networking/v1',
}

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
}

const manifest = (path: string): Manifest => parse(readFileSync(path, 'utf8')) as Manifest

/** A program that compiles if the manifests have only fields that Kubernetes knows, with values of their types. */
function programOf(manifests: readonly Manifest[]): string {
  return manifests
    .map((each, i) => {
      const module = MODULES[each.apiVersion]
      return `import type { ${each.kind} as Kind${i} } from 'kubernetes-types/${module}.d.ts'\nexport const m${i}: Kind${i} = ${JSON.stringify(each, null, 1)}\n`
    })
    .join('')
}

async function complaints(manifests: readonly Manifest[], name: string): Promise<string> {
  const dir = join(top, '.tap/manifests')
  const file = join(dir, `${name}.ts`)
  await promisify(execFile)('mkdir', ['-p', dir])
  writeFileSync(file, programOf(manifests))
  const options = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--module',
    'nodenext',
    '--target',
    'esnext',
    '--types',
    'node',
  ]
  const tsc = join(top, 'node_modules/typescript/bin/tsc')
  const command = plainly(process.execPath, tsc, '--ignoreConfig', ...options, file)
  try {
    return (await promisify(execFile)(command.file, command.args, { cwd: top, env: command.env })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    return stdout + stderr
  }
}

t.test('a kustomization names files that are there, and all of them', async (t) => {
  for (const name of readdirSync(kubernetes)) {
    const dir = join(kubernetes, name)
    const kustomization = parse(readFileSync(join(dir, 'kustomization.yaml'), 'utf8')) as {
      readonly resources: readonly string[]
      readonly patches?: readonly { readonly path: string }[]
      readonly configMapGenerator?: readonly { readonly files: readonly string[] }[]
    }
    const { resources, patches = [], configMapGenerator = [] } = kustomization
    const named = [
      ...resources,
      ...patches.map(({ path }) => path),
      ...configMapGenerator.flatMap(({ files }) => files),
    ]
    for (const path of named) t.ok(statSync(join(dir, path)), path)
    t.same(
      readdirSync(dir)
        .filter((file) => file !== 'kustomization.yaml')
        .sort(),
      named.filter((path) => !path.startsWith('..')).sort(),
    )
  }
})

t.test('the manifests have the form that Kubernetes declares', async (t) => {
  const base = join(kubernetes, 'base')
  const files = readdirSync(base).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
  t.equal(files.length, 4)
  const manifests = [
    ...files.map((name) => manifest(join(base, name))),
    manifest(join(kubernetes, 'kernel-format/capabilities.yaml')),
  ]
  // A patch has only what it changes.
  const whole = manifests.slice(0, -1)
  t.equal(await complaints(whole, 'whole'), '')
  const wrong = JSON.parse(
    JSON.stringify(whole).replace('"readOnlyRootFilesystem":true', '"readOnlyRootFileSystem":true'),
  )
  t.match(await complaints(wrong, 'wrong'), /readOnlyRootFileSystem/, 'a wrong name is noticed')
})

t.test('what containers are made from is there, and without root it asks for no privilege', async (t) => {
  const dockerfile = readFileSync(join(top, 'deploy/container/Dockerfile'), 'utf8')
  for (const [, from = ''] of dockerfile.matchAll(/^COPY (?!--)(.*) \S+$/gm))
    for (const path of from.split(' ')) t.ok(statSync(join(top, path)), path)
  t.match(dockerfile, /^USER 10001:10001$/m)
  const compose = parse(readFileSync(join(top, 'deploy/container/compose.yaml'), 'utf8'))
  t.match(compose.services.overlayd, { read_only: true, cap_drop: ['ALL'], user: '10001:10001' })
  const { spec } = (
    manifest(join(kubernetes, 'base/stateful-set.yaml')) as unknown as { spec: { template: { spec: object } } }
  ).spec.template
  t.match(spec, { securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } } })
})
