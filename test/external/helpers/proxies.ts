import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scratch } from './scratch.ts'
import { killGroup } from './shell.ts'

/** A proxy with TLS in front of a server. */
export interface Proxy {
  readonly name: ProxyName
  /** Its HTTPS port on 127.0.0.1. */
  readonly port: number
}

export type ProxyName = 'nginx' | 'apache' | 'caddy'

/** The certificate of all proxies, for 127.0.0.1 and `name`. */
export interface Certificate {
  readonly cert: string
  readonly key: string
  readonly name: string
}

/** Makes a certificate in the scratch folder. */
export async function makeCertificate(scratch: Scratch, name: string): Promise<Certificate> {
  await scratch.sh(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout proxy.key -out proxy.pem \\
    -subj /CN=${name} -addext 'subjectAltName=DNS:${name},IP:127.0.0.1' -addext basicConstraints=critical,CA:TRUE 2> openssl.log
    chmod 644 proxy.key`)
  return { cert: join(scratch.path, 'proxy.pem'), key: join(scratch.path, 'proxy.key'), name }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** What deploy/README.md says to write into the configuration of a proxy. */
function documented(name: ProxyName): string {
  const readme = readFileSync(fileURLToPath(new URL('../../../deploy/README.md', import.meta.url)), 'utf8')
  const found = new RegExp(`\`\`\`${name}\\n(.*?)\`\`\``, 's').exec(readme)?.[1]
  if (found === undefined) throw new Error(`deploy/README.md has no configuration for ${name}`)
  return found
}

/** Starts a proxy with the configuration of deploy/README.md, but for names, ports and paths, in front of `upstream` (`HOST:PORT`). */
export async function startProxy(
  scratch: Scratch,
  name: ProxyName,
  port: number,
  upstream: string,
  certificate: Certificate,
): Promise<Proxy> {
  const folder = join(scratch.path, `${name}-${port}`)
  mkdirSync(folder)
  const site = documented(name)
    .replaceAll('127.0.0.1:8080', upstream)
    .replaceAll('/etc/ssl/files.example.org.pem', certificate.cert)
    .replaceAll('/etc/ssl/files.example.org.key', certificate.key)
  const file = join(folder, 'conf')
  writeFileSync(file, CONFIGURATIONS[name](site, folder, port, certificate.name))
  const child = spawn('/bin/sh', ['-c', `exec ${COMMANDS[name](file, folder)} > ${folder}/log 2>&1`], {
    detached: true,
    cwd: folder,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: 'ignore',
  })
  const group = child.pid as number
  child.on('close', scratch.killAtEnd(group))
  const ended = once(child, 'close')
  scratch.defer(async () => {
    killGroup(group, 'SIGTERM')
    await ended
  })
  const ready = `until curl -s -o /dev/null --cacert ${certificate.cert} https://127.0.0.1:${port}/; do kill -0 ${group} && sleep 0.05; done`
  await scratch.sh(`timeout 30 sh -ec '${ready}' || { cat ${folder}/log >&2; exit 1; }`, 40_000)
  return { name, port }
}

const COMMANDS: Record<ProxyName, (file: string, folder: string) => string> = {
  nginx: (file, folder) => `nginx -c ${file} -p ${folder} -e ${folder}/error.log -g 'daemon off;'`,
  apache: (file) => `apache2 -f ${file} -DFOREGROUND`,
  caddy: (file) => `caddy run --config ${file} --adapter caddyfile`,
}

/** The configuration around that of the site. */
const CONFIGURATIONS: Record<ProxyName, (site: string, folder: string, port: number, name: string) => string> = {
  nginx: (site, folder, port) => `
    pid ${folder}/pid;
    events {}
    http {
      access_log ${folder}/access.log;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
      ${site.replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)}
    }`,
  apache: (site, folder, port) => `
    ServerRoot ${folder}
    ServerName localhost
    PidFile ${folder}/pid
    DefaultRuntimeDir ${folder}
    ErrorLog ${folder}/error.log
    User www-data
    Group www-data
    Listen 127.0.0.1:${port}
    ${['mpm_event', 'authz_core', 'socache_shmcb', 'ssl', 'proxy', 'proxy_http'].map(loadModule).join('\n')}
    ${site.replace('*:443', `127.0.0.1:${port}`)}`,
  caddy: (site, _folder, port, name) => `
    {
      admin off
      auto_https off
      skip_install_trust
      default_sni ${name}
    }
    ${site.replace('files.example.org {', `https://${name}:${port}, https://127.0.0.1:${port} {\n bind 127.0.0.1`)}`,
}

function loadModule(name: string): string {
  return `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`
}
