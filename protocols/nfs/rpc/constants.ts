/** `msg_type` (RFC 5531 section 9). */
export const CALL = 0
export const REPLY = 1

/** The version of the RPC protocol itself. */
export const RPC_VERSION = 2

/** `reply_stat`. */
export const MSG_ACCEPTED = 0
export const MSG_DENIED = 1

/** `accept_stat`. */
export const SUCCESS = 0
export const PROG_UNAVAIL = 1
export const PROG_MISMATCH = 2
export const PROC_UNAVAIL = 3
export const GARBAGE_ARGS = 4
export const SYSTEM_ERR = 5

/** `reject_stat`. */
export const RPC_MISMATCH = 0
export const AUTH_ERROR = 1

/** `auth_stat`. */
export const AUTH_BADCRED = 1
export const AUTH_BADVERF = 3
export const AUTH_TOOWEAK = 5

/** Authentication flavors (RFC 5531 section 8). */
export const AUTH_NONE = 0
export const AUTH_SYS = 1
/** Asks whether the server is ready for TLS (RFC 9289 section 4.1). */
export const AUTH_TLS = 7

/** Maximum size of the body of a credential or verifier (RFC 5531 section 8.2). */
export const MAX_AUTH_BYTES = 400

/** The bit of a record mark for the last fragment (RFC 5531 section 11). */
export const LAST_FRAGMENT = 0x8000_0000

/** Maximum size of a cached reply; every NFSv3 reply to a non-idempotent call is shorter. */
export const MAX_KEPT_REPLY_BYTES = 320

/** Only root can send from ports below this one. */
export const PRIVILEGED_PORTS = 1024
/** The addresses of this machine to itself. */
export const LOOPBACK = /^(?:127\.|::1$)/
