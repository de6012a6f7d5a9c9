import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DAVFS_DEFAULTS, mountDavfs } from './helpers/davfs.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { freePort, makeCertificate, type ProxyName, startProxy } from './helpers/proxies.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote } from './helpers/shell.ts'

t.setTimeout(600_000)
const scratch = makeScratch(t)
const NAMES: readonly ProxyName[] = ['nginx', 'apache', 'caddy']
const certificate = await makeCertificate(scratch, 'files.example.org')
const ports = [await freePort(), await freePort(), await freePort()]
const publicUrls = ports.flatMap((port) => [`https://127.0.0.1:${port}`, `https://files.example.org:${port}`])
await scratch.sh(
  'mkdir -p lower/docs outside/tree/sub; echo report > lower/docs/report.txt; seq 1 50000 > outside/tree/sub/numbers',
)

/** Starts overlayd on the lower and an upper of its own. */
async function start(name: string, flags: readonly string[]) {
  await scratch.sh(`mkdir -p ${name}/upper ${name}/work`)
  const at = (folder: string) => join(scratch.path, name, folder)
  const layers = { lowerdir: [join(scratch.path, 'lower')], upperdir: at('upper'), workdir: at('work') }
  const overlayd = await startOverlayd(scratch, layers, { flags })
  return { upper: at('upper'), address: new URL(overlayd.webdavUrl).host, overlayd }
}

const { upper, address, overlayd } = await start(
  'declared',
  publicUrls.flatMap((url) => ['--public-url', url]),
)

for (const [i, name] of NAMES.entries()) {
  const port = ports[i] as number
  const proxy = await startProxy(scratch, name, port, address, certificate)
  const url = `https://127.0.0.1:${port}/overlay/`

  t.test(`davfs2 through ${name}: what is written with locks arrives, renames and changes too`, async (t) => {
    const options = [...DAVFS_DEFAULTS, `trust_ca_cert ${certificate.cert}`, 'delay_upload 0']
    const davfs = await mountDavfs(scratch, `davfs-${name}`, url, 1, options)
    const sh = hostShell(davfs.path)
    await sh(
      `mkdir ${name}; echo first > ${name}/file; echo changed > docs/${name}.txt; cp docs/report.txt ${name}/copy`,
    )
    await davfs.remount()
    t.equal(readFileSync(join(upper, name, 'file'), 'latin1'), 'first\n')
    await sh(`echo second >> ${name}/file; mv ${name}/copy '${name}/ü #1 100%'; mv docs/${name}.txt ${name}/moved`)
    await davfs.remount()
    t.equal(readFileSync(join(upper, name, 'file'), 'latin1'), 'first\nsecond\n')
    t.equal(await sh(`cat '${name}/ü #1 100%' ${name}/moved`), 'report\nchanged\n')
    await davfs.unmount()
    t.equal(await scratch.sh(`find ${quote(davfs.path)}.davfs2 -path '*lost+found/*'`), '', 'nothing was given up')
  })

  t.test(`cadaver through ${name}: locks, copies and moves`, async (t) => {
    const session = [
      ...[`mkcol c-${name}`, `cd c-${name}`, `put ${scratch.path}/outside/tree/sub/numbers numbers`, 'lock numbers'],
      ...[`put ${scratch.path}/outside/tree/sub/numbers numbers`, 'unlock numbers', 'copy numbers copy', 'lock copy'],
      ...[
        'propset copy author somebody',
        'propget copy author',
        'unlock copy',
        'move copy moved',
        'delete numbers',
        'quit',
      ],
    ]
    // cadaver believes the certificates of the machine only, and knows the names of the machine only: it gets ones of its own.
    await scratch.sh(
      `printf '%s\\n' ${session.map(quote).join(' ')} > session; echo '127.0.0.1 localhost files.example.org' > hosts`,
    )
    const said = await scratch.sh(`unshare -m sh -ec '
      mount --bind hosts /etc/hosts; mount --bind ${certificate.cert} /etc/ssl/certs/ca-certificates.crt
      HOME=${scratch.path} cadaver https://files.example.org:${port}/overlay/ < session'`)
    t.notMatch(said, /fail|error/i)
    t.match(said, /Value of author is: somebody/)
    t.equal(await scratch.sh(`ls ${upper}/c-${name}; cmp ${upper}/c-${name}/moved outside/tree/sub/numbers`), 'moved\n')
  })

  t.test(`rclone through ${name}: copies, moves and checks`, async (t) => {
    const remote = (path: string) => quote(`:webdav,url='${url}',vendor=owncloud:${path}`)
    const rclone = (words: string) =>
      scratch.sh(`HOME=${scratch.path} rclone --ca-cert ${certificate.cert} --config ${scratch.path}/none -q ${words}`)
    await rclone(`copy outside/tree ${remote(`r-${name}`)}`)
    await rclone(`moveto ${remote(`r-${name}/sub/numbers`)} ${remote(`r-${name}/sub/moved`)}`)
    await rclone(`copyto ${remote(`r-${name}/sub/moved`)} ${remote(`r-${name}/sub/numbers`)}`)
    await rclone(`check --one-way outside/tree ${remote(`r-${name}`)}`)
    t.equal(await scratch.sh(`ls ${upper}/r-${name}/sub`), 'moved\nnumbers\n')
  })

  t.test(`curl through ${name}, by the name of the certificate: Destination, If, tus and SEARCH`, async (t) => {
    const base = `https://files.example.org:${port}`
    const curl = (words: string, path: string) =>
      scratch.sh(
        `curl -sS --cacert ${certificate.cert} --resolve files.example.org:${port}:127.0.0.1 ${words} ${quote(`${base}${path}`)}`,
      )
    const status = (words: string, path: string) => curl(`-o /dev/null -w '%{http_code}' ${words}`, path)
    t.equal(await status('-T outside/tree/sub/numbers', `/overlay/curl-${name}`), '201')
    t.equal(await status(`-X COPY -H 'Destination: ${base}/overlay/copy-${name}'`, `/overlay/curl-${name}`), '201')
    t.equal(await status(`-X MOVE -H 'Destination: ${base}/overlay/moved-${name}'`, `/overlay/copy-${name}`), '201')
    t.equal(
      await status("-X MOVE -H 'Destination: https://elsewhere.example/overlay/x'", `/overlay/moved-${name}`),
      '502',
    )
    const lockBody =
      '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
    const locked = await curl(`-D - -X LOCK --data ${quote(lockBody)}`, `/overlay/moved-${name}`)
    const token = /^lock-token: <([^>]*)>/im.exec(locked)?.[1] ?? ''
    t.match(locked, `<D:lockroot><D:href>/overlay/moved-${name}</D:href>`)
    const put = (condition: string) => `-T outside/tree/sub/numbers -H ${quote(`If: ${condition}`)}`
    t.equal(await status(put(`<${base}/overlay/moved-${name}> (<${token}>)`), `/overlay/moved-${name}`), '204')
    t.equal(
      await status(put(`<https://elsewhere.example/overlay/moved-${name}> (<${token}>)`), `/overlay/moved-${name}`),
      '412',
    )
    t.equal(
      await status(
        `-X COPY -H 'Destination: ${base}/overlay/moved-${name}' -H ${quote(`If: <${base}/overlay/moved-${name}> (<${token}>)`)}`,
        `/overlay/curl-${name}`,
      ),
      '204',
    )
    const created = await curl(
      `-D - -X POST -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 3' -H 'Upload-Metadata: filename dHVz'`,
      '/overlay/',
    )
    const location = new URL(/^location: (\S*)/im.exec(created)?.[1] ?? '', `${base}/overlay/`)
    t.equal(location.origin, base)
    const piece = `-X PATCH -H 'Tus-Resumable: 1.0.0' -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' --data abc`
    t.equal(await status(piece, location.pathname + location.search), '204')
    const search = `<D:searchrequest xmlns:D="DAV:"><D:basicsearch><D:select><D:prop><D:getetag/></D:prop></D:select><D:from><D:scope><D:href>${base}/overlay/</D:href><D:depth>1</D:depth></D:scope></D:from></D:basicsearch></D:searchrequest>`
    t.match(await curl(`-X SEARCH --data ${quote(search)}`, '/overlay/'), `<D:href>/overlay/moved-${name}</D:href>`)
    t.equal(await status('', '/-/status'), '404', 'the status stays inside')
  })
  t.match(overlayd.printed(), `mount -t davfs https://files.example.org:${proxy.port}/overlay/ /mnt`)
}

t.test('what a trusted proxy reports needs no declared name; what others report counts for nothing', async (t) => {
  const trusting = await start('trusting', ['--trusted-proxy', '127.0.0.1'])
  const cautious = await start('cautious', ['--trusted-proxy', '192.0.2.1'])
  for (const name of NAMES) {
    for (const { server, expected } of [
      { server: trusting, expected: '201' },
      { server: cautious, expected: '502' },
    ]) {
      const port = await freePort()
      await startProxy(scratch, name, port, server.address, certificate)
      // Caddy hands Host on as it came, which is then the name in Destination, too.
      const wanted = name === 'caddy' ? '201' : expected
      const base = `https://127.0.0.1:${port}/overlay/`
      t.equal(
        await scratch.sh(
          `curl -sS -o /dev/null -w '%{http_code}' --cacert ${certificate.cert} -X COPY -H 'Destination: ${base}${name}' ${base}docs/report.txt`,
        ),
        wanted,
        `${name}, ${expected}`,
      )
    }
  }
})
