# Generated from config/manual.ts and config/schema.ts by npm run docs. Do not edit.
_overlayd() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' word i skip='' next='' options='' words='' paths=''
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [ -n "$skip" ]; then skip=''; continue; fi
    case $word in
    -o|--webdav|--as|--locks|--symlinks|--public-url|--trusted-proxy|--nfs|--export|--lock-grace|--tls|--tls-client-ca|--tls-clients|--tls-revoked|--state-dir|--ready-file|--log-level|--config|--pid|--days|--name|--out|--ttl|--fork|--keep|--against|--from|--version|--whiteouts|--store|--to|--format|--lowerdir|--workdir|--view|--user|--client|--seconds|--limit|--bytes|--soft-bytes|--files|--soft-files|--file|--path|--expires|--group|--network|--range|--interface|--tftp-root|--debootstrap|--packages|--mirror|--cache|--url) skip=1 ;;
    -*) ;;
    *)
      case "$path${path:+ }$word" in
      'serve'|'config'|'config check'|'config print'|'init'|'reload'|'cert'|'cert ca'|'cert issue'|'cert revoke'|'cert list'|'view'|'view list'|'view create'|'view show'|'view remove'|'view rename'|'snapshot'|'snapshots'|'rollback'|'reset'|'restore'|'dedupe'|'snapshot remove'|'fork'|'squash'|'run'|'rebase'|'conflicts'|'trash'|'trash list'|'trash restore'|'trash empty'|'diff'|'layer'|'layer add'|'layer publish'|'layer list'|'layer show'|'layer remove'|'layer gc'|'import'|'commit'|'promote'|'export'|'fsck'|'who'|'top'|'kick'|'lock'|'lock list'|'lock break'|'quota'|'quota show'|'quota set'|'usage'|'job'|'job list'|'job show'|'job cancel'|'user'|'user add'|'user passwd'|'user remove'|'user list'|'token'|'token make'|'token list'|'token revoke'|'machine'|'machine list'|'machine show'|'machine approve'|'machine reset'|'machine forget'|'machine pin'|'machine unpin'|'machine console-args'|'boot'|'boot dnsmasq'|'image'|'image build'|'image lint'|'status'|'remount'|'help') path="$path${path:+ }$word" ;;
      esac
      ;;
    esac
  done
  if [ -n "$skip" ]; then
    case $prev in
    --webdav) words='off' ;;
    --locks) words='advisory mandatory' ;;
    --symlinks) words='follow hide refuse' ;;
    --nfs) words='off' ;;
    --tls) paths=-f ;;
    --tls-client-ca) paths=-f ;;
    --tls-clients) words='request require' ;;
    --tls-revoked) paths=-f ;;
    --state-dir) paths=-d ;;
    --ready-file) paths=-f ;;
    --config) paths=-f ;;
    --out) paths=-d ;;
    --whiteouts) words='files' ;;
    --store) paths=-d ;;
    --format) words='oci-layer oci-archive tar overlay-dir' ;;
    --workdir) paths=-d ;;
    --file) paths=-f ;;
    --tftp-root) paths=-d ;;
    --cache) paths=-d ;;
    esac
    if [ -n "$words" ]; then mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    elif [ -n "$paths" ]; then compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen $paths -- "$cur"); fi
    return
  fi
  case $path in
    '') next='boot cert commit config conflicts dedupe diff export fork fsck help image import init job kick layer lock machine promote quota rebase reload remount reset restore rollback run serve snapshot snapshots squash status token top trash usage user view who' options='-o --sample --webdav --as --locks --symlinks --depth-infinity --insecure-no-auth --public-url --trusted-proxy --nfs --export --manage-gids --portmap --rpcbind --lock-grace --tls --tls-client-ca --tls-clients --tls-revoked --state-dir --ready-file --log-level -h --help -V --version' ;;
    'config') next='check print' options='--help' ;;
    'cert') next='ca issue list revoke' options='--help' ;;
    'view') next='create list remove rename show' options='--help' ;;
    'snapshot') next='remove' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'trash') next='empty list restore' options='--help' ;;
    'layer') next='add gc list publish remove show' options='--help' ;;
    'lock') next='break list' options='--help' ;;
    'quota') next='set show' options='--help' ;;
    'job') next='cancel list show' options='--help' ;;
    'user') next='add list passwd remove' options='--help' ;;
    'token') next='list make revoke' options='--help' ;;
    'machine') next='approve console-args forget list pin reset show unpin' options='--help' ;;
    'boot') next='dnsmasq' options='--help' ;;
    'image') next='build lint' options='--help' ;;
    'serve') next='' options='--config --webdav --as --locks --symlinks --depth-infinity --insecure-no-auth --public-url --trusted-proxy --nfs --manage-gids --portmap --rpcbind --lock-grace --tls --tls-client-ca --tls-clients --tls-revoked --state-dir --ready-file --log-level -h --help' ;;
    'config check') next='' options='' ;;
    'config print') next='' options='--config --webdav --as --locks --symlinks --depth-infinity --insecure-no-auth --public-url --trusted-proxy --nfs --manage-gids --portmap --rpcbind --lock-grace --tls --tls-client-ca --tls-clients --tls-revoked --state-dir --ready-file --log-level -h --help --json' ;;
    'init') next='' options='' ;;
    'reload') next='' options='--pid --state-dir -h --help' ;;
    'cert ca') next='' options='--days --name --out --json -h --help' ;;
    'cert issue') next='' options='--days --name --out --json -h --help' ;;
    'cert revoke') next='' options='--days --name --out --json -h --help' ;;
    'cert list') next='' options='--days --name --out --json -h --help' ;;
    'view list') next='' options='--yes --json --pid --state-dir -h --help' ;;
    'view create') next='' options='--yes --json --pid --state-dir -h --help' ;;
    'view show') next='' options='--yes --json --pid --state-dir -h --help' ;;
    'view remove') next='' options='--yes --json --pid --state-dir -h --help' ;;
    'view rename') next='' options='--yes --json --pid --state-dir -h --help' ;;
    'snapshots') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'rollback') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'reset') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'restore') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'dedupe') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'snapshot remove') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'fork') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'squash') next='' options='--yes --drop --aside --ttl --ephemeral --json --pid --state-dir -h --help' ;;
    'run') next='' options='--fork --keep --promote --drop --pid --state-dir -h --help' ;;
    'rebase') next='' options='--dry-run --now --at-next-open --all --yes --json --pid --state-dir -h --help' ;;
    'conflicts') next='' options='--dry-run --now --at-next-open --all --yes --json --pid --state-dir -h --help' ;;
    'trash list') next='' options='--as --yes --json --pid --state-dir -h --help' ;;
    'trash restore') next='' options='--as --yes --json --pid --state-dir -h --help' ;;
    'trash empty') next='' options='--as --yes --json --pid --state-dir -h --help' ;;
    'diff') next='' options='--against --stat --name-only --patch --json --all --pid --state-dir -h --help' ;;
    'layer add') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'layer publish') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'layer list') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'layer show') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'layer remove') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'layer gc') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'import') next='' options='--from --version --whiteouts --dry-run --yes --json --config --store --pid --state-dir -h --help' ;;
    'commit') next='' options='--as --to --dry-run --json --pid --state-dir -h --help' ;;
    'promote') next='' options='--as --to --dry-run --json --pid --state-dir -h --help' ;;
    'export') next='' options='--format --to --json --config --store --pid --state-dir -h --help' ;;
    'fsck') next='' options='--config --lowerdir --workdir --userxattr --yes --json -h --help' ;;
    'who') next='' options='--view --user --client --json --pid --state-dir -h --help --seconds --once' ;;
    'top') next='' options='--view --user --client --json --pid --state-dir -h --help --seconds --once' ;;
    'kick') next='' options='--client --user --yes --json --pid --state-dir -h --help' ;;
    'lock list') next='' options='--view --user --client --limit --yes --json --pid --state-dir -h --help' ;;
    'lock break') next='' options='--view --user --client --limit --yes --json --pid --state-dir -h --help' ;;
    'quota show') next='' options='--user --bytes --soft-bytes --files --soft-files --inherit --json --pid --state-dir -h --help' ;;
    'quota set') next='' options='--user --bytes --soft-bytes --files --soft-files --inherit --json --pid --state-dir -h --help' ;;
    'usage') next='' options='--limit --count --json --pid --state-dir -h --help' ;;
    'job list') next='' options='--json --pid --state-dir -h --help' ;;
    'job show') next='' options='--json --pid --state-dir -h --help' ;;
    'job cancel') next='' options='--json --pid --state-dir -h --help' ;;
    'user add') next='' options='--config --file --json -h --help' ;;
    'user passwd') next='' options='--config --file --json -h --help' ;;
    'user remove') next='' options='--config --file --json -h --help' ;;
    'user list') next='' options='--config --file --json -h --help' ;;
    'token make') next='' options='--view --path --link --read-only --writable --drop-only --password --expires --json --pid --state-dir -h --help' ;;
    'token list') next='' options='--view --path --link --read-only --writable --drop-only --password --expires --json --pid --state-dir -h --help' ;;
    'token revoke') next='' options='--view --path --link --read-only --writable --drop-only --password --expires --json --pid --state-dir -h --help' ;;
    'machine list') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine show') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine approve') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine reset') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine forget') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine pin') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine unpin') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'machine console-args') next='' options='--view --group --yes --drop --json --pid --state-dir -h --help' ;;
    'boot dnsmasq') next='' options='--config --network --range --interface --tftp-root -h --help' ;;
    'image build') next='' options='--debootstrap --packages --mirror --cache --from --fix --json -h --help' ;;
    'image lint') next='' options='--debootstrap --packages --mirror --cache --from --fix --json -h --help' ;;
    'status') next='' options='--url --json --state-dir -h --help' ;;
    'remount') next='' options='-o --pid --state-dir -h --help' ;;
    'help') next='' options='' ;;
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
