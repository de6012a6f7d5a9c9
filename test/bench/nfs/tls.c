#define _GNU_SOURCE
#include "tls.h"
#include "wire.h"
#include <errno.h>
#include <unistd.h>

#ifndef WITH_TLS
void begin_tls(int fd) { fail("connection %d: compiled without TLS", fd); }
ssize_t stream_read(int fd, void *to, size_t room) { return read(fd, to, room); }
ssize_t stream_write(int fd, const void *from, size_t length) { return write(fd, from, length); }
void stream_close(int fd) { close(fd); }
#else
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { MOST_CONNECTIONS = 4096 };
static SSL *tls_of[MOST_CONNECTIONS];

static SSL_CTX *shared_context(void) {
  static SSL_CTX *context;
  static const unsigned char sunrpc[] = "\6sunrpc";
  if (context != NULL) return context;
  context = must(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  /* One cipher for all servers, so that what the generator computes is the same. */
  if (SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1) fail("no AES-128-GCM");
  SSL_CTX_set_alpn_protos(context, sunrpc, sizeof sunrpc - 1);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  return context;
}

void begin_tls(int fd) {
  if (fd >= MOST_CONNECTIONS) fail("too many connections");
  SSL *tls = must(SSL_new(shared_context()));
  if (SSL_set_fd(tls, fd) != 1 || SSL_connect(tls) != 1) fail("TLS handshake: %s", ERR_error_string(ERR_get_error(), NULL));
  tls_of[fd] = tls;
}

/* What a call on TLS that has moved nothing means for a caller that expects a socket. */
static ssize_t nothing(SSL *tls, int result) {
  switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: return errno == 0 ? 0 : -1;
    default: errno = EPROTO; return -1;
  }
}

ssize_t stream_read(int fd, void *to, size_t room) {
  SSL *tls = tls_of[fd];
  if (tls == NULL) return read(fd, to, room);
  size_t used = 0;
  while (used < room) {
    int count = SSL_read(tls, (char *)to + used, (int)(room - used));
    if (count <= 0) return used > 0 ? (ssize_t)used : nothing(tls, count);
    used += (size_t)count;
    /* One that blocks returns what it has. */
    if (SSL_pending(tls) == 0 && !SSL_has_pending(tls)) break;
  }
  return (ssize_t)used;
}

ssize_t stream_write(int fd, const void *from, size_t length) {
  SSL *tls = tls_of[fd];
  if (tls == NULL) return write(fd, from, length);
  int count = SSL_write(tls, from, (int)length);
  return count > 0 ? count : nothing(tls, count);
}

void stream_close(int fd) {
  SSL_free(tls_of[fd]);
  tls_of[fd] = NULL;
  close(fd);
}
#endif
