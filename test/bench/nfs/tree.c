#define _GNU_SOURCE
#include "tree.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MNT = 1, UNSTABLE = 0, NFS3ERR_NOENT = 2 };
static uint32_t next_xid = 1;

const char *small_name(unsigned index) {
  static char name[16];
  snprintf(name, sizeof name, "f%04u", index);
  return name;
}

static uint64_t pattern(uint64_t offset) { return offset * 0x9e3779b97f4a7c15u + 1; }

void fill_pattern(uint8_t *to, uint64_t offset, size_t length) {
  for (size_t at = 0; at < length; at += 8) {
    uint64_t value = pattern(offset + at);
    memcpy(to + at, &value, 8);
  }
}

int has_pattern(const uint8_t *from, uint64_t offset, size_t length) {
  uint64_t first, last;
  memcpy(&first, from, 8);
  memcpy(&last, from + length - 8, 8);
  return first == pattern(offset) && last == pattern(offset + length - 8);
}

/* LOOKUP: the status, and on success the handle and the size. */
static uint32_t lookup(int fd, const struct handle *dir, const char *name, struct handle *found, uint64_t *size) {
  struct buffer out = {0};
  size_t length, begun = begin_call(&out, next_xid++, NFS_PROGRAM, PROC_LOOKUP);
  put_handle(&out, dir);
  put_text(&out, name);
  const uint8_t *results = ask(fd, &out, begun, &length);
  uint32_t status = word_at(results);
  if (status == 0) {
    const uint8_t *attributes = take_handle(results + 4, found);
    if (size != NULL && word_at(attributes)) *size = wide_at(attributes + 4 + 20);
  }
  return status;
}

static void need(int fd, const struct handle *dir, const char *name, struct handle *found, uint64_t *size) {
  uint32_t status = lookup(fd, dir, name, found, size);
  if (status != 0) fail("LOOKUP of %s: %u", name, status);
}

static void make_directory(int fd, const struct handle *dir, const char *name, struct handle *made) {
  struct buffer out = {0};
  size_t length, begun = begin_call(&out, next_xid++, NFS_PROGRAM, PROC_MKDIR);
  put_handle(&out, dir);
  put_text(&out, name);
  put_word(&out, 1);
  put_word(&out, 0755);
  for (int i = 0; i < 5; i++) put_word(&out, 0);
  uint32_t status = word_at(ask(fd, &out, begun, &length));
  if (status != 0) fail("MKDIR of %s: %u", name, status);
  need(fd, dir, name, made, NULL);
}

static void mount_root(const char *host, int mount_port, const char *export, struct handle *root) {
  struct buffer out = {0};
  int fd = connect_to(host, mount_port);
  size_t length, begun = begin_call(&out, next_xid++, MOUNT_PROGRAM, MNT);
  put_text(&out, export);
  const uint8_t *results = ask(fd, &out, begun, &length);
  if (word_at(results) != 0) fail("MNT of %s: %u", export, word_at(results));
  take_handle(results + 4, root);
  stream_close(fd);
}

void find_tree(struct tree *tree, const char *host, int port, int mount_port, const char *export, const char *directory) {
  struct handle root;
  mount_root(host, mount_port, export, &root);
  int fd = connect_to(host, port);
  need(fd, &root, directory, &tree->directory, NULL);
  for (unsigned i = 0; i < SMALL_FILES; i++) need(fd, &tree->directory, small_name(i), &tree->files[i], NULL);
  need(fd, &tree->directory, "big", &tree->big, &tree->big_bytes);
  if (lookup(fd, &root, "scratch", &tree->scratch, NULL) == NFS3ERR_NOENT) make_directory(fd, &root, "scratch", &tree->scratch);
  stream_close(fd);
}

static void touch(int fd, const struct handle *file) {
  uint8_t first[8];
  struct buffer out = {0};
  fill_pattern(first, 0, sizeof first);
  size_t length, begun = begin_call(&out, next_xid++, NFS_PROGRAM, PROC_WRITE);
  put_handle(&out, file);
  put_wide(&out, 0);
  put_word(&out, sizeof first);
  put_word(&out, UNSTABLE);
  put_opaque(&out, first, sizeof first);
  uint32_t status = word_at(ask(fd, &out, begun, &length));
  if (status != 0) fail("WRITE: %u", status);
}

void touch_tree(struct tree *tree, const char *host, int port) {
  int fd = connect_to(host, port);
  for (unsigned i = 0; i < SMALL_FILES; i++) touch(fd, &tree->files[i]);
  touch(fd, &tree->big);
  stream_close(fd);
}
