/* What the load generator measures. */
#ifndef OPERATIONS_H
#define OPERATIONS_H
#include "tree.h"

enum { MAX_REQUESTS = 256 };

/* One of the calls under way on a connection. Work of several calls (a listing, CREATE and REMOVE) counts when all are answered. */
struct slot {
  uint32_t xid;
  int busy, step, entries;
  uint64_t since, offset, cookie;
  uint8_t verifier[8];
  char name[32];
};
struct connection {
  int fd, number, under_way;
  struct slot slots[MAX_REQUESTS];
  struct buffer out, in;
  size_t sent;
};

/* What is measured: `begin` puts the arguments of the next call and returns its procedure; `end` returns whether the work is done. */
struct operation {
  const char *name, *meaning;
  void (*begin)(struct connection *, struct slot *, struct buffer *);
  int (*end)(struct slot *, const uint8_t *results, size_t length); /* NULL: the reply has no status */
};

extern const struct operation operations[];
extern const size_t operation_count;

/* What the operations work on. */
extern struct tree tree;
/* Bytes of data, or of listings, that went over the wire; replies that say something else than they must. */
extern uint64_t moved, wrong;
#endif
