/* The files that the load goes to, found through the server under test. */
#ifndef TREE_H
#define TREE_H
#include "wire.h"

enum { SMALL_FILES = 1000, SMALL_BYTES = 4096 };

struct tree {
  struct handle directory;          /* one of the directories that the bench has made: lower, upper, copied */
  struct handle files[SMALL_FILES]; /* f0000 to f0999 in it */
  struct handle big;                /* the file `big` in it, */
  uint64_t big_bytes;               /* and its size */
  struct handle scratch;            /* an empty directory for files that come and go */
};

/* The name of a small file, valid until the next call. */
const char *small_name(unsigned index);

/* Mounts and looks everything up. The scratch directory is made when it is missing. */
void find_tree(struct tree *tree, const char *host, int port, int mount_port, const char *export, const char *directory);

/* Writes a first piece of every file, so that the server copies it up. */
void touch_tree(struct tree *tree, const char *host, int port);

/* What `big` holds: a word for every 8 bytes, made of its offset. `offset` and `length` are multiples of 8. */
void fill_pattern(uint8_t *to, uint64_t offset, size_t length);
/* Whether the first and the last word are those of the pattern. */
int has_pattern(const uint8_t *from, uint64_t offset, size_t length);
#endif
