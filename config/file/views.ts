import { type MountOptions, nearestWord, OptionError, parseOptions } from '../../overlay-core/index.ts'
import { isLayerReference, type StackLayer } from '../layer-reference.ts'
import { nameError } from '../option-values.ts'
import type { NewUpper, TemplateSettings, ViewSettings } from '../settings.ts'
import type { Given, Named } from './key.ts'
import type { Problems } from './problems.ts'
import { quotaByError, quotaOf } from './quota-keys.ts'
import { type FileValues, inFileWords } from './read-tables.ts'
import { keptOf, uselessSnapshotKeys } from './snapshot-keys.ts'
import { type LayerLookup, newestError, StackLayers } from './stack-layers.ts'
import { ephemeralError, isOwn, kindOf } from './view-kinds.ts'
import type { EXPORTS, LAYERS, STACKS, VIEWS } from './view-tables.ts'

/** The defaults of a template. */
const IDLE_MS = 60_000
/** An ephemeral view is deleted after this time, so it covers a lunch break. */
const EPHEMERAL_IDLE_MS = 3_600_000
const MOST_VIEWS = 10_000
/** The default of `squash_above`. */
const SQUASH_ABOVE = 32

type Layer = Named<typeof LAYERS.keys>
type Stack = Named<typeof STACKS.keys>
type View = Named<typeof VIEWS.keys>
type Export = Named<typeof EXPORTS.keys>

/** The context in which views are checked. */
export interface ViewContext {
  readonly uid: number | undefined
  /** The clients of an export that names none. */
  readonly defaultExport: string
  /** Returns the error in a list of clients in the syntax of exports(5); undefined if there is none. */
  readonly exportError: (text: string) => string | undefined
  /** The directory in memory for the ephemeral views of a template. */
  readonly memoryDirectory: (template: string) => string
  /** By default there is no layer store. */
  readonly layer?: LayerLookup | undefined
}

/** A view, with the positions in the file for later problems. */
export interface FileView {
  readonly settings: ViewSettings & { readonly mount: MountOptions }
  /** The offset of the view's name. */
  readonly at: number
  /** The offsets of the values that name its directories, by path. */
  readonly paths: ReadonlyMap<string, number>
}

/** Creates the views of a file. Inconsistencies go to `problems`, and the views concerned are left out. */
export function viewsOf(file: FileValues, problems: Problems, context: ViewContext): FileView[] {
  return new ViewMaker(file, problems, context).views()
}

class ViewMaker {
  readonly #file: FileValues
  readonly #problems: Problems
  readonly #context: ViewContext
  readonly #versions: StackLayers
  readonly #layers: ReadonlyMap<string, Layer>
  readonly #stacks: ReadonlyMap<string, Stack>
  readonly #exports: ReadonlyMap<string, readonly Export[]>

  constructor(file: FileValues, problems: Problems, context: ViewContext) {
    this.#file = file
    this.#problems = problems
    this.#context = context
    this.#versions = new StackLayers(context.layer ?? (() => 'there is no layer store here'), problems)
    this.#layers = this.#byName(file.layers)
    this.#stacks = this.#byName(file.stacks)
    this.#byName(file.views)
    this.#byName(file.exports)
    this.#exports = Map.groupBy(file.exports, ({ values }) => values.view?.value ?? '')
  }

  views(): FileView[] {
    for (const stack of this.#file.stacks) this.#checkStack(stack)
    for (const served of this.#file.exports) this.#checkExport(served)
    const views = this.#file.views.map((view) => this.#view(view)).filter((view) => view !== undefined)
    this.#refuseSharedUppers(views)
    return views
  }

  /** Indexes a list by name. Invalid names, and names that differ only in case, are reported. */
  #byName<Each extends { name: string; at: number }>(list: readonly Each[]): Map<string, Each> {
    const seen = new Map<string, string>()
    for (const { name, at } of list) {
      const error = nameError(name)
      const lower = name.toLowerCase()
      const other = seen.get(lower)
      if (error !== undefined) this.#problems.add(at, error)
      else if (other !== undefined)
        this.#problems.add(at, `${JSON.stringify(name)} differs from ${JSON.stringify(other)} only in case; rename one`)
      seen.set(lower, name)
    }
    return new Map(list.map((each) => [each.name, each]))
  }

  #find<Each>(table: string, map: ReadonlyMap<string, Each>, name: Given<string> | undefined): Each | undefined {
    if (name === undefined) return undefined
    const found = map.get(name.value)
    if (found === undefined) {
      const near = nearestWord(name.value, map.keys())
      const mend = near === undefined ? `add [${table}.${plainName(name.value)}]` : `did you mean ${near}?`
      this.#problems.add(name.valueAt, `there is no ${table.slice(0, -1)} ${JSON.stringify(name.value)}; ${mend}`)
    }
    return found
  }

  #checkStack({ values: { layers, data_layers } }: Stack): void {
    const seen = new Set<string>()
    for (const list of [layers, data_layers]) {
      for (const name of list?.value ?? []) {
        const given = { ...(list as Given<unknown>), value: name }
        if (isLayerReference(name)) this.#versions.check(given)
        else this.#find('layers', this.#layers, given)
        if (seen.has(name))
          this.#problems.add(
            list!.valueAt,
            `the layer ${JSON.stringify(name)} is listed twice in this stack; remove one`,
          )
        seen.add(name)
      }
    }
  }

  #checkExport({ name, at, values: { view, door, clients } }: Export): void {
    const exported = this.#find('views', new Map(this.#file.views.map((each) => [each.name, each])), view)
    const { public_urls: urls, trusted_proxies: proxies } = this.#file.webdav
    const hidden = (urls?.value.length ?? 0) > 0 && (proxies?.value.length ?? 0) === 0
    if (door?.value === 'webdav' && exported !== undefined && kindOf(exported.values) === 'per-machine' && hidden)
      this.#problems.add(
        door.valueAt,
        `\`exports.${name}.door\`: clients come through a proxy (webdav.public_urls) that hides which machine they are; add webdav.trusted_proxies`,
      )
    if (door?.value === 'webdav' && clients !== undefined) {
      this.#problems.add(
        clients.at,
        `\`exports.${name}.clients\` applies to NFS only; remove it. webdav.listen defines who can reach WebDAV.`,
      )
    }
    const first = this.#exports.get(view?.value ?? '')?.find((other) => other.values.door?.value === 'webdav')
    if (door?.value === 'webdav' && view !== undefined && first !== undefined && first.name !== name) {
      this.#problems.add(
        at,
        `the view ${JSON.stringify(view.value)} is already exported over WebDAV by [exports.${first.name}]; remove one of them`,
      )
    }
    for (const text of door?.value === 'nfs' ? (clients?.value ?? []) : []) {
      const wrong = this.#context.exportError(text)
      if (wrong !== undefined) this.#problems.add(clients!.valueAt, `\`exports.${name}.clients\`: ${wrong}`)
    }
  }

  #view(view: View): FileView | undefined {
    const { name, at, values } = view
    const stack = this.#find('stacks', this.#stacks, values.stack)
    const upper = this.#upper(view)
    if (stack === undefined || upper === undefined) return undefined
    const paths = new Map<string, number>()
    const mount = this.#mountOptions(view, stack, upper, paths)
    if (mount === undefined || this.#refuseTemplateKeys(view)) return undefined
    const layers = this.#versions.versionsIn(stack.values.layers?.value ?? [])
    const wrong = values.upper?.value === 'shared' ? newestError(layers) : undefined
    if (wrong !== undefined) this.#problems.add(values.upper!.valueAt, `\`views.${name}.upper\`: ${wrong}`)
    const template = this.#template(view, mount, layers)
    const exports = this.#exports.get(name) ?? []
    if (exports.length === 0 && this.#file.exports.length > 0)
      this.#problems.add(at, `no export names this view; add [exports.NAME] with view = "${name}"`)
    return {
      at,
      paths,
      settings: {
        name,
        mount: template === undefined ? mount : { ...mount, upperdir: undefined, workdir: undefined },
        make: upper.make,
        handlesOfItsOwn: true,
        layers,
        template,
        ...this.#exportSettings(exports),
      },
    }
  }

  /** Reports keys that have no effect because all clients share the view. */
  #refuseTemplateKeys({ name, values }: View): boolean {
    const { upper, per, create, idle, max_views, owners, quota, quota_soft, quota_files, quota_files_soft, quota_by } =
      values
    const { conflicts } = values
    if (per !== undefined && per.value !== 'user' && upper?.value !== 'ephemeral') {
      this.#problems.add(per.at, `\`views.${name}.per\` has an effect only with upper = "ephemeral"; remove it`)
      return true
    }
    const useless = uselessSnapshotKeys(name, values)
    for (const [at, problem] of useless) this.#problems.add(at, problem)
    if (useless.length > 0) return true
    if (isOwn(upper?.value)) return false
    const others = [
      ['create', create?.value ? create : undefined],
      ['idle', idle?.value.ms === IDLE_MS ? undefined : idle],
      ['max_views', max_views?.value === MOST_VIEWS ? undefined : max_views],
      ['squash_above', values.squash_above?.value === SQUASH_ABOVE ? undefined : values.squash_above],
      ['owners', owners?.value.length ? owners : undefined],
      ['conflicts', conflicts],
      ['quota', quota],
      ['quota_soft', quota_soft],
      ['quota_files', quota_files],
      ['quota_files_soft', quota_files_soft],
      ['quota_by', quota_by?.value === 'filesystem' ? quota_by : undefined],
    ] as const
    for (const [key, given] of others.filter(([, each]) => each !== undefined))
      this.#problems.add(
        given!.at,
        `\`views.${name}.${key}\` has an effect only with upper = "per-user", "per-machine" or "ephemeral"; remove it`,
      )
    return others.some(([, given]) => given !== undefined)
  }

  /** The settings of a template; undefined for a view of its own. */
  #template(
    { name, values }: View,
    mount: MountOptions,
    layers: readonly (StackLayer | undefined)[],
  ): TemplateSettings | undefined {
    const { upper, directory, owner, create, idle, max_views, squash_above, owners } = values
    if (owners?.value.length && this.#file.login === undefined)
      this.#problems.add(
        owners.at,
        `\`views.${name}.owners\` needs a login, because nobody has a name without one; add [login] with sources`,
      )
    const kind = kindOf(values)
    if (kind === undefined) return undefined
    const wrong = quotaByError(values)
    if (wrong !== undefined) this.#problems.add(wrong.at, `\`views.${name}.${wrong.message}`)
    const ephemeral = upper?.value === 'ephemeral'
    return {
      kind,
      ephemeral,
      directory: directory?.value ?? this.#context.memoryDirectory(name),
      inMemory: directory === undefined,
      mount,
      layers,
      owner: owner?.value && { uid: owner.value.uid, gid: owner.value.gid },
      create: create?.value ?? ephemeral,
      idleMs: idle?.value.ms ?? (ephemeral ? EPHEMERAL_IDLE_MS : IDLE_MS),
      maxViews: max_views?.value ?? MOST_VIEWS,
      squashAbove: (squash_above?.value ?? SQUASH_ABOVE) || undefined,
      owners: owners?.value ?? [],
      quota: quotaOf(values),
      quotaBy: values.quota_by?.value ?? 'server',
      conflicts: values.conflicts?.value ?? [],
      ...keptOf(values),
    }
  }

  /** The exports of a view; if the file contains no export, the same as on the command line. */
  #exportSettings(exports: readonly Export[]): Pick<ViewSettings, 'exports' | 'exportsGiven' | 'doors' | 'as'> {
    const { defaultExport } = this.#context
    if (exports.length === 0) return { exports: [defaultExport], exportsGiven: false }
    const webdav = exports.find(({ values }) => values.door?.value === 'webdav')
    const nfs = exports.filter(({ values }) => values.door?.value === 'nfs')
    const rules = nfs.map(({ values: { clients, as } }) => {
      const squash = as === undefined ? [] : [`-all_squash,anonuid=${as.value.uid},anongid=${as.value.gid}`]
      return [...squash, ...(clients?.value ?? [defaultExport])].join(' ')
    })
    const doors = { webdav: webdav !== undefined, nfs: nfs.length > 0 }
    return { exports: rules, exportsGiven: true, doors, as: webdav?.values.as?.value }
  }

  /** Where the changes of a view are stored; undefined if the key is invalid. */
  #upper({ name, at, values }: View): Upper | undefined {
    const { upper, directory, upperdir, workdir, owner, read_only } = values
    const complain = (where: number, message: string) => {
      this.#problems.add(where, message)
      return undefined
    }
    const kind = upper?.value ?? 'none'
    if (kind === 'none') {
      const useless = Object.entries({ directory, upperdir, workdir, owner, read_only }).filter(
        ([, given]) => given?.value,
      )
      for (const [key, given] of useless)
        complain(
          given!.at,
          `\`views.${name}.${key}\` has no effect without an upper; remove it, or use upper = "shared"`,
        )
      return useless.length > 0 ? undefined : {}
    }
    const own = isOwn(kind)
    for (const [key, given] of Object.entries({ upperdir, workdir, read_only }))
      if (own && given?.value)
        return complain(given.at, `\`views.${name}.${key}\` cannot be combined with upper = "${kind}"; remove it`)
    const wrong = kind === 'ephemeral' ? ephemeralError(values) : undefined
    if (wrong !== undefined) return complain(wrong.at ?? at, `\`views.${name}.${wrong.message}`)
    if (kind === 'ephemeral' && directory === undefined) {
      const inMemory = this.#context.memoryDirectory(name)
      return { upperdir: `${inMemory}/upper`, workdir: `${inMemory}/work`, at: upper!.valueAt }
    }
    if (directory !== undefined) {
      for (const [key, given] of Object.entries({ upperdir, workdir }))
        if (given !== undefined)
          return complain(
            given.at,
            `\`views.${name}.${key}\` cannot be combined with \`directory\`; remove one of them`,
          )
      const make = own ? undefined : { owner: owner?.value }
      return { upperdir: `${directory.value}/upper`, workdir: `${directory.value}/work`, at: directory.valueAt, make }
    }
    if (owner !== undefined)
      complain(owner.at, `\`views.${name}.owner\` applies only to an upper that is created in \`directory\`; remove it`)
    if (upperdir !== undefined && workdir !== undefined)
      return { upperdir: upperdir.value, workdir: workdir.value, at: upperdir.valueAt }
    const missing = own
      ? 'directory'
      : upperdir !== undefined
        ? 'workdir'
        : workdir !== undefined
          ? 'upperdir'
          : 'directory'
    return complain(at, `\`views.${name}.${missing}\` is missing; add ${missing} = "PATH"`)
  }

  #mountOptions(view: View, stack: Stack, upper: Upper, paths: Map<string, number>): MountOptions | undefined {
    const words: string[] = []
    const add = (option: string, path: string, at: number) => {
      words.push(`${option}=${path.replace(/[\\,]/g, '\\$&')}`)
      paths.set(path, at)
    }
    const { layers, data_layers, ...how } = stack.values
    const { index, whiteouts, fsync, uuid, read_only } = view.values
    for (const [option, list] of [['lowerdir+', layers] as const, ['datadir+', data_layers] as const]) {
      for (const name of list?.value ?? []) {
        const path = isLayerReference(name)
          ? this.#versions.pathOf({ ...(list as Given<unknown>), value: name }, view.name)
          : this.#layers.get(name)?.values.path
        if (path === undefined) return undefined
        add(option, path.value, path.valueAt)
      }
    }
    if (layers === undefined) return undefined
    if (upper.upperdir !== undefined) add('upperdir', upper.upperdir, upper.at as number)
    if (upper.workdir !== undefined) add('workdir', upper.workdir, upper.at as number)
    const ephemeral = view.values.upper?.value === 'ephemeral'
    if (ephemeral) words.push('fsync=volatile')
    const given = { ...how, index, whiteouts, fsync: ephemeral ? undefined : fsync, uuid }
    for (const [option, value] of Object.entries(given)) {
      if (typeof value?.value === 'boolean') words.push(...(value.value ? [option] : []))
      else if (value !== undefined) words.push(`${option}=${value.value}`)
    }
    if (read_only?.value) words.push('ro')
    const privileged = given.userxattr === undefined ? this.#context.uid === 0 : !given.userxattr.value
    return this.#parse(words.join(','), privileged, (option) => {
      const at: Given<unknown> | undefined = given[option as keyof typeof given]
      return at?.at ?? view.at
    })
  }

  #parse(text: string, privileged: boolean, placeOf: (option: string) => number): MountOptions | undefined {
    try {
      return parseOptions(text, { cwd: '/', privileged })
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      this.#problems.add(placeOf(error.option), inFileWords(error.message.replace(/(\w+)=(\w+)/g, '$1 = "$2"')))
      return undefined
    }
  }

  /** Reports directories that two views would share as upper or workdir. */
  #refuseSharedUppers(views: readonly FileView[]): void {
    const owners = new Map<string, string>()
    for (const { settings, at, paths } of views) {
      const { upperdir, workdir } = settings.mount
      const { template } = settings
      // The uppers of a template are anywhere in its directory.
      const inTemplate =
        template === undefined ? [] : [template.directory, template.mount.upperdir, template.mount.workdir]
      for (const path of [upperdir, workdir, ...inTemplate]) {
        if (path === undefined) continue
        const other = owners.get(path)
        if (other !== undefined)
          this.#problems.add(
            paths.get(path) ?? at,
            `the views "${other}" and "${settings.name}" cannot share ${path}; give each its own directory`,
          )
        owners.set(path, settings.name)
      }
    }
  }
}

interface Upper {
  readonly upperdir?: string
  readonly workdir?: string
  /** The offset of the value that names the directories. */
  readonly at?: number
  readonly make?: NewUpper | undefined
}

function plainName(name: string): string {
  return nameError(name) === undefined ? name : 'NAME'
}
