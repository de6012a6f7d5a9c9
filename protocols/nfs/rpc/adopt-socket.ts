import { type OnReadOpts, Socket } from 'node:net'

/**
 * Goes on with the connection of `accepted` (accepted with `pauseOnConnect`) in a new socket that reads into buffers of ours.
 *
 * Node offers `onread` for outgoing connections only; the handle of an accepted one is the same kind of object, but no
 * public call hands it over. This is the one place that touches it. Reading starts in the next tick.
 *
 * @throws TypeError Node has changed and keeps the handle elsewhere
 */
export function adoptSocket(accepted: Socket, onread: OnReadOpts): Socket {
  const shell = accepted as unknown as { _handle: object | null | undefined }
  const handle = shell._handle
  if (!handle) throw new TypeError('the accepted socket has no handle')
  const options: { handle: object; onread: OnReadOpts; manualStart: boolean } = { handle, onread, manualStart: true }
  const socket = new Socket(options as ConstructorParameters<typeof Socket>[0])
  shell._handle = null
  // The shell holds nothing any more; ending it takes it off its server's count.
  accepted.destroy()
  process.nextTick(() => {
    if (!socket.destroyed) socket.resume()
  })
  return socket
}
