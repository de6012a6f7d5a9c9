import { type CompletedCommand, completedCommands, followerOf } from './completion-table.ts'
import { spellingsOf, summaryOf } from './manual-option.ts'
import { plain } from './manual-text.ts'
import type { OptionSpec } from './schema.ts'

const HEAD = '# Generated from config/manual.ts and config/schema.ts by npm run docs. Do not edit.'

/** The options of a command in all spellings. */
function namesOf({ options }: CompletedCommand): string[] {
  return options.flatMap(spellingsOf)
}

/** The words that can follow those of a command: `create`, `list` … after `view`. */
function nextWords(commands: readonly CompletedCommand[]): ReadonlyMap<string, readonly string[]> {
  const next = new Map<string, Set<string>>()
  for (const { words } of commands) {
    const parts = words.split(' ').filter((word) => word !== '')
    parts.forEach((word, at) => {
      const before = parts.slice(0, at).join(' ')
      next.set(before, (next.get(before) ?? new Set()).add(word))
    })
  }
  return new Map([...next].map(([before, words]) => [before, [...words].sort()]))
}

/** All options that take a value, each spelling once. */
function withValue(commands: readonly CompletedCommand[]): ReadonlyMap<string, OptionSpec> {
  const all = commands.flatMap(({ options }) => options).filter(({ value }) => value !== undefined)
  return new Map(all.flatMap((option) => spellingsOf(option).map((name) => [name, option] as const)))
}

/** The completion script of bash(1). */
export function bashCompletion(commands: readonly CompletedCommand[] = completedCommands()): string {
  const next = nextWords(commands)
  const valued = withValue(commands)
  const followers = [...valued].flatMap(([name, option]) => {
    const follower = followerOf(option)
    if (follower.kind === 'words') return [`    ${name}) words='${follower.words.join(' ')}' ;;`]
    if (follower.kind === 'file') return [`    ${name}) paths=-f ;;`]
    if (follower.kind === 'directory') return [`    ${name}) paths=-d ;;`]
    return []
  })
  const known = new Set(commands.map(({ words }) => words))
  const cases = [...new Set([...next.keys(), ...known])].map((words) => {
    const command = commands.find((each) => each.words === words)
    const options = command === undefined ? '--help' : namesOf(command).join(' ')
    return `    '${words}') next='${(next.get(words) ?? []).join(' ')}' options='${options}' ;;`
  })
  return `${HEAD}
_overlayd() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' word i skip='' next='' options='' words='' paths=''
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [ -n "$skip" ]; then skip=''; continue; fi
    case $word in
    ${[...valued.keys()].join('|')}) skip=1 ;;
    -*) ;;
    *)
      case "$path\${path:+ }$word" in
      ${[...prefixesOf(known)].map((words) => `'${words}'`).join('|')}) path="$path\${path:+ }$word" ;;
      esac
      ;;
    esac
  done
  if [ -n "$skip" ]; then
    case $prev in
${followers.join('\n')}
    esac
    if [ -n "$words" ]; then mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    elif [ -n "$paths" ]; then compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen $paths -- "$cur"); fi
    return
  fi
  case $path in
${cases.join('\n')}
  esac
  case $cur in
  -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur") ;;
  *)
    if [ -n "$next" ]; then mapfile -t COMPREPLY < <(compgen -W "$next" -- "$cur")
    else compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); fi
    ;;
  esac
}
complete -F _overlayd overlayd
`
}

/** The commands, and what they begin with. */
function prefixesOf(known: ReadonlySet<string>): ReadonlySet<string> {
  const all = new Set<string>()
  for (const words of known) {
    const parts = words.split(' ').filter((word) => word !== '')
    for (let count = 1; count <= parts.length; count++) all.add(parts.slice(0, count).join(' '))
  }
  return all
}

/** A text for single quotes in zsh, without the characters that _arguments gives a meaning. */
function zshText(text: string): string {
  return plain(text)
    .replace(/'/g, "'\\''")
    .replace(/[[\]:]/g, (char) => `\\${char}`)
}

/** The completion script of zsh(1). */
export function zshCompletion(commands: readonly CompletedCommand[] = completedCommands()): string {
  const next = nextWords(commands)
  const known = new Set(commands.map(({ words }) => words))
  const action = (option: OptionSpec) => {
    const follower = followerOf(option)
    if (follower.kind === 'words') return `:value:(${follower.words.join(' ')})`
    if (follower.kind === 'file') return ':file:_files'
    if (follower.kind === 'directory') return ':directory:_files -/'
    return follower.kind === 'none' ? '' : ':value: '
  }
  const specs = ({ options }: CompletedCommand) =>
    options.flatMap((option) =>
      spellingsOf(option).map(
        (name) => `'${option.repeats ? '*' : ''}${name}[${zshText(summaryOf(option))}]${action(option)}'`,
      ),
    )
  const cases = [...new Set([...next.keys(), ...known])].map((words) => {
    const command = commands.find((each) => each.words === words)
    const more = (next.get(words) ?? []).length > 0 ? `'*:command:(${next.get(words)?.join(' ')})'` : "'*:file:_files'"
    const all = [...(command === undefined ? [] : specs(command)), more]
    return `    '${words}') _arguments -S ${all.join(' ')} ;;`
  })
  return `#compdef overlayd
${HEAD}
_overlayd() {
  local path='' word i=2 skip=''
  while (( i < CURRENT )); do
    word=$words[i]
    (( i++ ))
    if [[ -n $skip ]]; then skip=''; continue; fi
    case $word in
    ${[...withValue(commands).keys()].join('|')}) skip=1; continue ;;
    -*) continue ;;
    esac
    case "$path\${path:+ }$word" in
    ${[...prefixesOf(known)].map((words) => `'${words}'`).join('|')}) path="$path\${path:+ }$word" ;;
    esac
  done
  case $path in
${cases.join('\n')}
  esac
}
_overlayd "$@"
`
}

/** The completion script of fish(1). */
export function fishCompletion(commands: readonly CompletedCommand[] = completedCommands()): string {
  const next = nextWords(commands)
  const quoted = (text: string) => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
  const at = (words: string) => `-n ${quoted(`__overlayd_at ${quoted(words)}`)}`
  const lines = [...next].map(
    ([words, followers]) => `complete -c overlayd -f ${at(words)} -a ${quoted(followers.join(' '))}`,
  )
  for (const { words, options } of commands)
    for (const option of options) {
      const names = spellingsOf(option).map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      )
      const follower = followerOf(option)
      const value = {
        none: '',
        any: ' -x',
        file: ' -r -F',
        directory: " -x -a '(__fish_complete_directories)'",
        words: ` -x -a ${quoted(follower.kind === 'words' ? follower.words.join(' ') : '')}`,
      }[follower.kind]
      lines.push(`complete -c overlayd ${at(words)} ${names.join(' ')}${value} -d ${quoted(plain(summaryOf(option)))}`)
    }
  const prefixes = [...prefixesOf(new Set(commands.map(({ words }) => words)))]
  return `${HEAD}
function __overlayd_at
    set -l path
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case ${[...withValue(commands).keys()].join(' ')}
                set skip 1
            case '-*'
            case '*'
                if contains -- (string join ' ' $path $word) ${prefixes.map(quoted).join(' ')}
                    set -a path $word
                end
        end
    end
    set -l found (string join ' ' -- $path)
    test "$found" = "$argv[1]"
end
${lines.join('\n')}
`
}
