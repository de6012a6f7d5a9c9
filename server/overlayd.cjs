#!/usr/bin/env node
// Starts overlayd on a suitable Node. Plain CommonJS in old syntax, so that any Node can print the messages.
// A checkout runs the TypeScript sources directly; Node does not strip types below node_modules, so a package contains dist/.
'use strict'
const childProcess = require('child_process')
const fs = require('fs')
const os = require('os')
const path = require('path')

const NEEDED = [24, 0]
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']

// The pool runs every call that may wait for a disk; libuv reads its size once, before first use.
if (!process.env.UV_THREADPOOL_SIZE) process.env.UV_THREADPOOL_SIZE = '16'

// glibc reads this when a process starts, which takeOptions causes. Otherwise glibc keeps an arena for each thread of the pool forever.
if (!process.env.MALLOC_ARENA_MAX) process.env.MALLOC_ARENA_MAX = '2'

// Objects of a request are short-lived: V8 would let their space grow to 64 MiB, which makes nothing faster.
const YOUNG_SPACE = '--max-semi-space-size'
// That little is collected by the thread of the event loop alone. It would otherwise wait for the threads that help it, which on a busy machine have no processor.
const NODE_OPTIONS = [`${YOUNG_SPACE}=4`, '--no-parallel-scavenge']

function fail(message) {
  process.stderr.write(`overlayd: ${message}\n`)
  process.exit(2)
}

function isNewEnough(version) {
  const parts = version.replace(/^v/, '').split('.').map(Number)
  return parts[0] > NEEDED[0] || (parts[0] === NEEDED[0] && parts[1] >= NEEDED[1])
}

/** The Node in the `node` package; undefined if its install script did not run. */
function pinnedNode() {
  let manifest
  try {
    manifest = require.resolve('node/package.json')
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
    return undefined
  }
  const binary = path.join(path.dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  return fs.existsSync(binary) ? binary : undefined
}

/** The number of sockets that a service manager has opened for this process (sd_listen_fds(3)). */
function socketsGiven() {
  return process.env.LISTEN_PID === String(process.pid) ? Number(process.env.LISTEN_FDS) || 0 : 0
}

/** Runs this file again on `binary`, forwards signals, and exits like the child. */
function runOn(binary) {
  const env = Object.assign({}, process.env, { OVERLAYD_RELAUNCHED: '1' })
  const args = NODE_OPTIONS.concat(__filename, process.argv.slice(2))
  const stdio = Array.from({ length: 3 + socketsGiven() }, (_, fd) => (fd < 3 ? 'inherit' : fd))
  const child = childProcess.spawn(binary, args, { stdio, env })
  const forward = FORWARDED.map((signal) => {
    const listener = () => child.kill(signal)
    process.on(signal, listener)
    return [signal, listener]
  })
  child.on('error', (error) => fail(`cannot start the bundled Node ${binary}: ${error.message}; run npm ci`))
  child.on('exit', (code, signal) => {
    for (const entry of forward) process.removeListener(entry[0], entry[1])
    if (signal === null) process.exit(code)
    process.kill(process.pid, signal)
    // The signal was ignored by default, so this process still runs: exit with the status that a shell would report.
    process.exitCode = 128 + (os.constants.signals[signal] || 0)
  })
}

/** Executes the same Node again, in the same process, with options that are only accepted at startup. Returns if that is impossible. */
function takeOptions() {
  const given = process.execArgv.concat(process.env.NODE_OPTIONS || '')
  // Sockets of a service manager would be closed; its unit gives the options itself.
  if (socketsGiven() > 0) return
  if (typeof process.execve !== 'function' || given.some((option) => option.includes(YOUNG_SPACE))) return
  const args = [process.execPath].concat(NODE_OPTIONS, process.execArgv, __filename, process.argv.slice(2))
  process.execve(process.execPath, args, process.env)
}

function runHere() {
  const source = path.join(__dirname, 'main.ts')
  const built = path.join(__dirname, '..', 'dist', 'server', 'main.js')
  const main = fs.existsSync(source) ? source : built
  if (!fs.existsSync(main)) fail(`${built} is missing; run npm run build`)
  import(require('url').pathToFileURL(main).href).catch((error) => {
    process.stderr.write(`overlayd: cannot start: ${(error && error.stack) || error}\n`)
    process.exit(1)
  })
}

if (isNewEnough(process.version)) {
  takeOptions()
  runHere()
} else {
  const binary = pinnedNode()
  if (binary === undefined || process.env.OVERLAYD_RELAUNCHED) {
    fail(
      `needs Node ${NEEDED.join('.')} or newer, but this is ${process.version}. The bundled Node is missing because ` +
        'install scripts did not run; run npm rebuild --ignore-scripts=false node, or put a newer Node on the PATH',
    )
  }
  runOn(binary)
}
