import type { MaybePromise } from '../../../overlay-core/index.ts'
import type { Decoder } from '../xdr/decoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import type { RpcCall } from './call.ts'
import { AUTH_BADCRED, AUTH_BADVERF, AUTH_NONE, AUTH_SYS, AUTH_TLS } from './constants.ts'
import type { CredentialCache } from './credential.ts'

/**
 * A way in which callers say who they are (RFC 5531 section 8). Programs see only the `credential` that it gives a call; a further flavor, such as RPCSEC_GSS, is another entry in
 * `AUTH_FLAVORS`.
 */
export interface AuthFlavor {
  readonly number: number
  /**
   * Reads the body of the credential, at `start`…`end` of `call.args`, and the verifier, at which `call.args` stands. Sets `call.credential`; `call.verifier` if replies need one; and
   * `call.answeredBy` if the call is for the flavor itself, whatever its program. Returns an `auth_stat`, 0 if both are valid.
   *
   * @throws XdrError the message ends before the verifier does
   */
  accept(call: RpcCall, start: number, end: number, known: CredentialCache): number
  /** Answers a call that is for the flavor itself. */
  answer?(call: RpcCall): MaybePromise<void>
}

/** The procedure 0 of every program, which does nothing. */
const NULL = 0
/** What the server answers in the verifier of a reply if it is ready for a handshake (RFC 9289 section 4.1). */
const STARTTLS = Buffer.from('STARTTLS')

/** The user and groups as the client states them (RFC 5531 appendix A). */
const authSys: AuthFlavor = {
  number: AUTH_SYS,
  accept(call, start, end, known) {
    if ((end - start) % 4 !== 0) return AUTH_BADCRED
    const { args } = call
    try {
      call.credential = known.authSys(args.bytes, args.view, start, end)
    } catch (error) {
      if (error instanceof XdrError) return AUTH_BADCRED
      throw error
    }
    return emptyVerifier(args)
  },
}

/** Nobody in particular (RFC 5531 section 10). */
const authNone: AuthFlavor = {
  number: AUTH_NONE,
  accept(call, _start, _end, known) {
    call.credential = known.none
    return emptyVerifier(call.args)
  },
}

/** Asks whether the server is ready for TLS (RFC 9289 section 4.1). */
const authTls: AuthFlavor = {
  number: AUTH_TLS,
  accept(call, start, end, known) {
    if (start !== end || call.procedure !== NULL || !call.peer.mayStartTls) return AUTH_BADCRED
    call.credential = known.none
    call.answeredBy = authTls
    return emptyVerifier(call.args)
  },
  answer(call) {
    call.asksForTls = true
    call.verifier = STARTTLS
    call.begin(0)
  },
}

/** The flavors that calls may use, the most frequent first. */
const AUTH_FLAVORS: readonly AuthFlavor[] = [authSys, authNone, authTls]

/** The flavor with a number; undefined if calls may not use it. */
export function flavorOf(number: number): AuthFlavor | undefined {
  for (const flavor of AUTH_FLAVORS) if (flavor.number === number) return flavor
  return undefined
}

function emptyVerifier(args: Decoder): number {
  const { view } = args
  const at = args.take(8)
  return view.getUint32(at) === AUTH_NONE && view.getUint32(at + 4) === 0 ? 0 : AUTH_BADVERF
}
