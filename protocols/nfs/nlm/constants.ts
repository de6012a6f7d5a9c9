/** The network lock manager ("Protocols for Interworking: XNFS", chapter 10); version 4 is for NFSv3 (RFC 1813 appendix II). */
export const NLM_PROGRAM = 100021
export const NLM_V4 = 4

/** `nlm4_stats`. */
export const NLM4_GRANTED = 0
export const NLM4_DENIED = 1
export const NLM4_DENIED_NOLOCKS = 2
export const NLM4_BLOCKED = 3
export const NLM4_DENIED_GRACE_PERIOD = 4
export const NLM4_DEADLCK = 5
export const NLM4_ROFS = 6
export const NLM4_STALE_FH = 7
export const NLM4_FBIG = 8
export const NLM4_FAILED = 9

/** Procedures that this server calls, too. */
export const NLMPROC4_GRANTED = 5
export const NLMPROC4_GRANTED_MSG = 10
export const NLMPROC4_TEST_RES = 11
export const NLMPROC4_LOCK_RES = 12
export const NLMPROC4_CANCEL_RES = 13
export const NLMPROC4_UNLOCK_RES = 14

/** Maximum length of a caller's name and of an opaque (`LM_MAXSTRLEN`, `MAXNETOBJ_SZ`). */
export const LM_MAXSTRLEN = 1024
export const MAXNETOBJ_SZ = 1024
