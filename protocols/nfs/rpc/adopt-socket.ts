import { type OnReadOpts, Socket } from 'node:net'

/**
 * Moves the connection of `accepted` (accepted with `pauseOnConnect`) to a new socket that reads into our own buffers.
 *
 * Node offers `onread` for outgoing connections only; the handle of an accepted one is the same kind of object, but no
 * public call returns it. Only this function accesses it. Reading starts in the next tick.
 *
 * @throws TypeError a newer Node stores the handle elsewhere
 */
export function adoptSocket(accepted: Socket, onread: OnReadOpts): Socket {
  const shell = accepted as unknown as { _handle: object | null | undefined }
  const handle = shell._handle
  if (!handle) throw new TypeError('the accepted socket has no handle')
  const options: { handle: object; onread: OnReadOpts; manualStart: boolean } = { handle, onread, manualStart: true }
  const socket = new Socket(options as ConstructorParameters<typeof Socket>[0])
  shell._handle = null
  // The old socket is empty now; destroying it removes it from the connection count of its server.
  accepted.destroy()
  process.nextTick(() => {
    if (!socket.destroyed) socket.resume()
  })
  return socket
}
