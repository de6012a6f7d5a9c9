/* The little of XDR (RFC 4506), ONC RPC (RFC 5531) and record marking that the load generator needs. */
#ifndef WIRE_H
#define WIRE_H
#include "tls.h"
#include <stddef.h>
#include <stdint.h>

enum { NFS_PROGRAM = 100003, MOUNT_PROGRAM = 100005, VERSION_3 = 3, MAX_HANDLE = 64 };
enum nfs_procedure {
  PROC_NULL = 0, PROC_GETATTR = 1, PROC_LOOKUP = 3, PROC_ACCESS = 4, PROC_READ = 6, PROC_WRITE = 7, PROC_CREATE = 8,
  PROC_MKDIR = 9, PROC_REMOVE = 12, PROC_READDIRPLUS = 17, PROC_COMMIT = 21
};

struct handle { uint32_t length; uint8_t bytes[MAX_HANDLE]; };

/* A growing buffer: `used` bytes from `data` on. */
struct buffer { uint8_t *data; size_t used, room; };

/* How connections are encrypted. */
extern enum tls_kind encryption;

/* Who the generator says it is, in every call but NULL. */
extern uint32_t caller_uid, caller_gid;

void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *must(void *memory);

void put_word(struct buffer *out, uint32_t value);
void put_wide(struct buffer *out, uint64_t value);
void put_opaque(struct buffer *out, const void *bytes, uint32_t length);
void put_text(struct buffer *out, const char *text);
void put_handle(struct buffer *out, const struct handle *handle);
uint32_t word_at(const uint8_t *at);
uint64_t wide_at(const uint8_t *at);

/* Begins a call; the arguments are put behind it, then `end_call` gets what this returned. */
size_t begin_call(struct buffer *out, uint32_t xid, uint32_t program, uint32_t procedure);
void end_call(struct buffer *out, size_t begun);

/* The results of an accepted and successful reply, and their length in `length`; ends the program on any other. */
const uint8_t *results_of(const uint8_t *message, size_t bytes, size_t *length);

int connect_to(const char *host, int port);
/* Sends the one call in `out` and waits: the results, valid until the next `ask`. */
const uint8_t *ask(int socket, struct buffer *out, size_t begun, size_t *length);

/* Reading results: each returns where the next item starts. */
const uint8_t *skip_attributes(const uint8_t *at);
const uint8_t *skip_wcc(const uint8_t *at);
const uint8_t *take_handle(const uint8_t *at, struct handle *handle);
#endif
