#define _GNU_SOURCE
#include "operations.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_SYNC = 2, KIB4 = 4096, MIB = 1 << 20, WRITES_PER_COMMIT = 16, PAGE_BYTES = 65536 };

struct tree tree;
uint64_t moved, wrong;
static uint8_t *pattern;
static uint64_t sequential, writes, names;

static uint32_t random_below(uint32_t limit) {
  static uint64_t state = 0x853c49e6748fea9bu;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((state >> 33) % limit);
}

static size_t start(struct slot *slot, struct buffer *out, uint32_t procedure) {
  return begin_call(out, slot->xid, NFS_PROGRAM, procedure);
}
static void finish(struct buffer *out, size_t begun) { end_call(out, begun); }

static void begin_null(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  finish(out, start(slot, out, PROC_NULL));
}
static void begin_getattr(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  size_t begun = start(slot, out, PROC_GETATTR);
  put_handle(out, &tree.files[random_below(SMALL_FILES)]);
  finish(out, begun);
}
static void begin_access(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  size_t begun = start(slot, out, PROC_ACCESS);
  put_handle(out, &tree.files[random_below(SMALL_FILES)]);
  put_word(out, 0x3f);
  finish(out, begun);
}
static void begin_lookup(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  size_t begun = start(slot, out, PROC_LOOKUP);
  put_handle(out, &tree.directory);
  put_text(out, small_name(random_below(SMALL_FILES)));
  finish(out, begun);
}
static int end_plain(struct slot *slot, const uint8_t *results, size_t length) {
  (void)slot, (void)results, (void)length;
  return 1;
}

static void begin_readdirplus(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  if (slot->step++ == 0) {
    slot->cookie = 0;
    slot->entries = 0;
    memset(slot->verifier, 0, 8);
  }
  size_t begun = start(slot, out, PROC_READDIRPLUS);
  put_handle(out, &tree.directory);
  put_wide(out, slot->cookie);
  put_word(out, word_at(slot->verifier));
  put_word(out, word_at(slot->verifier + 4));
  put_word(out, PAGE_BYTES);
  put_word(out, PAGE_BYTES);
  finish(out, begun);
}
static int end_readdirplus(struct slot *slot, const uint8_t *results, size_t length) {
  const uint8_t *at = skip_attributes(results + 4);
  moved += length;
  memcpy(slot->verifier, at, 8);
  for (at += 8; word_at(at); slot->entries++) {
    at += 4 + 8;
    at += 4 + ((word_at(at) + 3) & ~3u);
    slot->cookie = wide_at(at);
    at = skip_attributes(at + 8);
    at += 4 + (word_at(at) ? 4 + ((word_at(at + 4) + 3) & ~3u) : 0);
  }
  if (!word_at(at + 4)) return 0;
  /* The small files and `big`; with or without "." and "..". */
  if (slot->entries < SMALL_FILES + 1) wrong++;
  return 1;
}

static uint64_t next_in_order(void) {
  uint64_t offset = sequential;
  sequential += MIB;
  if (sequential + MIB > tree.big_bytes) sequential = 0;
  return offset;
}
static uint64_t anywhere(void) { return (uint64_t)random_below((uint32_t)(tree.big_bytes / KIB4)) * KIB4; }

static void put_read(struct slot *slot, struct buffer *out, uint64_t offset, uint32_t count) {
  slot->offset = offset;
  size_t begun = start(slot, out, PROC_READ);
  put_handle(out, &tree.big);
  put_wide(out, offset);
  put_word(out, count);
  finish(out, begun);
}
static int end_read(struct slot *slot, const uint8_t *results, uint32_t wanted) {
  const uint8_t *at = skip_attributes(results + 4);
  if (word_at(at) != wanted || !has_pattern(at + 12, slot->offset, wanted)) wrong++;
  moved += word_at(at);
  return 1;
}
static void begin_read4k(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  put_read(slot, out, anywhere(), KIB4);
}
static int end_read4k(struct slot *slot, const uint8_t *results, size_t length) {
  (void)length;
  return end_read(slot, results, KIB4);
}
static void begin_read1m(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  put_read(slot, out, next_in_order(), MIB);
}
static int end_read1m(struct slot *slot, const uint8_t *results, size_t length) {
  (void)length;
  return end_read(slot, results, MIB);
}

static void put_write(struct slot *slot, struct buffer *out, uint64_t offset, uint32_t count, uint32_t stable) {
  if (pattern == NULL) fill_pattern(pattern = must(malloc(tree.big_bytes)), 0, tree.big_bytes);
  size_t begun = start(slot, out, PROC_WRITE);
  put_handle(out, &tree.big);
  put_wide(out, offset);
  put_word(out, count);
  put_word(out, stable);
  put_opaque(out, pattern + offset, count);
  finish(out, begun);
}
static int end_write(const uint8_t *results, uint32_t wanted) {
  uint32_t count = word_at(skip_wcc(results + 4));
  if (count != wanted) wrong++;
  moved += count;
  return 1;
}
static void begin_write4k(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  put_write(slot, out, anywhere(), KIB4, 0);
}
static void begin_write4ksync(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  put_write(slot, out, anywhere(), KIB4, FILE_SYNC);
}
static int end_write4k(struct slot *slot, const uint8_t *results, size_t length) {
  (void)slot, (void)length;
  return end_write(results, KIB4);
}
static void begin_write1m(struct connection *c, struct slot *slot, struct buffer *out) {
  (void)c;
  if (slot->step == 1) {
    size_t begun = start(slot, out, PROC_COMMIT);
    put_handle(out, &tree.big);
    put_wide(out, 0);
    put_word(out, 0);
    finish(out, begun);
  } else {
    put_write(slot, out, next_in_order(), MIB, 0);
  }
}
static int end_write1m(struct slot *slot, const uint8_t *results, size_t length) {
  (void)length;
  if (slot->step == 1) return 1;
  end_write(results, MIB);
  if (++writes % WRITES_PER_COMMIT != 0) return 1;
  slot->step = 1;
  return 0;
}

static void begin_create(struct connection *c, struct slot *slot, struct buffer *out) {
  if (slot->step == 0) snprintf(slot->name, sizeof slot->name, "t%d-%d-%" PRIu64, (int)getpid(), c->number, names++);
  size_t begun = start(slot, out, slot->step == 0 ? PROC_CREATE : PROC_REMOVE);
  put_handle(out, &tree.scratch);
  put_text(out, slot->name);
  if (slot->step == 0) {
    put_word(out, 0);
    put_word(out, 1);
    put_word(out, 0644);
    for (int i = 0; i < 5; i++) put_word(out, 0);
  }
  finish(out, begun);
}
static int end_create(struct slot *slot, const uint8_t *results, size_t length) {
  (void)results, (void)length;
  return slot->step++ == 1;
}

const struct operation operations[] = {
  { "null", "NULL", begin_null, NULL },
  { "getattr", "GETATTR of 1,000 files", begin_getattr, end_plain },
  { "access", "ACCESS of 1,000 files", begin_access, end_plain },
  { "lookup", "LOOKUP of 1,000 names", begin_lookup, end_plain },
  { "readdirplus", "READDIRPLUS of 1,000 entries, all pages", begin_readdirplus, end_readdirplus },
  { "read4k", "READ of 4 KiB anywhere", begin_read4k, end_read4k },
  { "read1m", "READ of 1 MiB in order", begin_read1m, end_read1m },
  { "write4k", "WRITE of 4 KiB anywhere, UNSTABLE", begin_write4k, end_write4k },
  { "write4k-sync", "WRITE of 4 KiB anywhere, FILE_SYNC", begin_write4ksync, end_write4k },
  { "write1m", "WRITE of 1 MiB in order, UNSTABLE, and a COMMIT after every 16", begin_write1m, end_write1m },
  { "create", "CREATE and REMOVE of a file, counted together", begin_create, end_create },
};
const size_t operation_count = sizeof operations / sizeof *operations;
