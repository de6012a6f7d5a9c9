/* Connections of the load generator with TLS 1.3: from their first byte (a proxy such as stunnel), or after the AUTH_TLS probe (RFC 9289). */
#ifndef TLS_H
#define TLS_H
#include <stddef.h>
#include <sys/types.h>

enum tls_kind { TLS_NONE, TLS_AT_ONCE, TLS_AFTER_PROBE };

/* Encrypts a fresh connection, which blocks. */
void begin_tls(int fd);
/* Like read, write and close, through TLS where there is some. A read takes all that is there, as from a socket without TLS. */
ssize_t stream_read(int fd, void *to, size_t room);
ssize_t stream_write(int fd, const void *from, size_t length);
void stream_close(int fd);
#endif
