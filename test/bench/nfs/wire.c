#define _GNU_SOURCE
#include "wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CALL = 0, REPLY = 1, RPC_VERSION = 2, AUTH_NONE = 0, AUTH_SYS = 1, AUTH_TLS = 7, ATTRIBUTE_BYTES = 84, PRE_OP_BYTES = 24 };
#define LAST_FRAGMENT 0x80000000u

uint32_t caller_uid, caller_gid;
enum tls_kind encryption;

void fail(const char *format, ...) {
  va_list rest;
  va_start(rest, format);
  fputs("nfs-load: ", stderr);
  vfprintf(stderr, format, rest);
  fputc('\n', stderr);
  exit(1);
}

void *must(void *memory) {
  if (memory == NULL) fail("out of memory");
  return memory;
}

static uint8_t *extend(struct buffer *out, size_t length) {
  if (out->used + length > out->room) {
    out->room = (out->used + length) * 2;
    out->data = must(realloc(out->data, out->room));
  }
  uint8_t *at = out->data + out->used;
  out->used += length;
  return at;
}

void put_word(struct buffer *out, uint32_t value) {
  uint32_t big = htonl(value);
  memcpy(extend(out, 4), &big, 4);
}

void put_wide(struct buffer *out, uint64_t value) {
  put_word(out, value >> 32);
  put_word(out, (uint32_t)value);
}

void put_opaque(struct buffer *out, const void *bytes, uint32_t length) {
  uint32_t padded = (length + 3) & ~3u;
  put_word(out, length);
  uint8_t *at = extend(out, padded);
  memcpy(at, bytes, length);
  memset(at + length, 0, padded - length);
}

void put_text(struct buffer *out, const char *text) { put_opaque(out, text, strlen(text)); }
void put_handle(struct buffer *out, const struct handle *handle) { put_opaque(out, handle->bytes, handle->length); }

uint32_t word_at(const uint8_t *at) {
  uint32_t big;
  memcpy(&big, at, 4);
  return ntohl(big);
}

uint64_t wide_at(const uint8_t *at) { return (uint64_t)word_at(at) << 32 | word_at(at + 4); }

size_t begin_call(struct buffer *out, uint32_t xid, uint32_t program, uint32_t procedure) {
  size_t begun = out->used;
  const uint32_t head[] = { 0, xid, CALL, RPC_VERSION, program, VERSION_3, procedure };
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) put_word(out, head[i]);
  if (procedure == PROC_NULL) {
    put_wide(out, AUTH_NONE);
  } else {
    static const char machine[] = "load";
    put_word(out, AUTH_SYS);
    put_word(out, 4 + 8 + 12);
    put_word(out, 0);
    put_opaque(out, machine, 4);
    put_word(out, caller_uid);
    put_word(out, caller_gid);
    put_word(out, 0);
  }
  put_wide(out, AUTH_NONE);
  return begun;
}

void end_call(struct buffer *out, size_t begun) {
  uint32_t mark = htonl(LAST_FRAGMENT | (uint32_t)(out->used - begun - 4));
  memcpy(out->data + begun, &mark, 4);
}

const uint8_t *results_of(const uint8_t *message, size_t bytes, size_t *length) {
  if (bytes < 24 || word_at(message + 4) != REPLY) fail("not a reply");
  if (word_at(message + 8) != 0) fail("the call was denied");
  size_t head = 24 + ((word_at(message + 16) + 3) & ~3u);
  if (bytes < head || word_at(message + head - 4) != 0) fail("the call was not accepted: %u", word_at(message + head - 4));
  *length = bytes - head;
  return message + head;
}

/* The NULL call with which a client of RFC 9289 asks for TLS. */
static void ask_for_tls(int fd) {
  struct buffer out = {0};
  const uint32_t head[] = { 0, 1, CALL, RPC_VERSION, NFS_PROGRAM, VERSION_3, PROC_NULL, AUTH_TLS, 0, AUTH_NONE, 0 };
  size_t length;
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) put_word(&out, head[i]);
  ask(fd, &out, 0, &length);
  free(out.data);
}

int connect_to(const char *host, int port) {
  char service[16];
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
  snprintf(service, sizeof service, "%d", port);
  if (getaddrinfo(host, service, &hints, &found) != 0) fail("no such host: %s", host);
  int one = 1, fd = socket(found->ai_family, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) fail("%s port %d: %s", host, port, strerror(errno));
  freeaddrinfo(found);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (encryption == TLS_AFTER_PROBE) ask_for_tls(fd);
  if (encryption != TLS_NONE) begin_tls(fd);
  return fd;
}

static void receive(int fd, uint8_t *to, size_t length) {
  while (length > 0) {
    ssize_t count = stream_read(fd, to, length);
    if (count <= 0) fail("connection lost: %s", count < 0 ? strerror(errno) : "closed");
    to += count;
    length -= count;
  }
}

const uint8_t *ask(int fd, struct buffer *out, size_t begun, size_t *length) {
  static struct buffer answer;
  end_call(out, begun);
  for (size_t sent = begun; sent < out->used;) {
    ssize_t count = stream_write(fd, out->data + sent, out->used - sent);
    if (count < 0) fail("connection lost: %s", strerror(errno));
    sent += count;
  }
  out->used = begun;
  answer.used = 0;
  for (uint32_t mark = 0; !(mark & LAST_FRAGMENT);) {
    uint8_t head[4];
    receive(fd, head, 4);
    mark = word_at(head);
    uint32_t part = mark & ~LAST_FRAGMENT;
    receive(fd, extend(&answer, part), part);
  }
  return results_of(answer.data, answer.used, length);
}

const uint8_t *skip_attributes(const uint8_t *at) { return at + 4 + (word_at(at) ? ATTRIBUTE_BYTES : 0); }
const uint8_t *skip_wcc(const uint8_t *at) { return skip_attributes(at + 4 + (word_at(at) ? PRE_OP_BYTES : 0)); }

const uint8_t *take_handle(const uint8_t *at, struct handle *handle) {
  handle->length = word_at(at);
  if (handle->length > MAX_HANDLE) fail("a handle of %u bytes", handle->length);
  memcpy(handle->bytes, at + 4, handle->length);
  return at + 4 + ((handle->length + 3) & ~3u);
}
