/*
 * davload - HTTP/1.1 load generator for the WebDAV benchmark.
 *
 * Build:  cc -O2 -Wall -Wextra -std=gnu11 -o davload davload.c
 * Use:    davload PORT CONNECTIONS SECONDS SCRIPT
 *
 * One thread, one epoll loop, keep-alive connections to 127.0.0.1 with one request outstanding on each. Every connection runs SCRIPT over
 * and over. Bodies of answers are counted and dropped inside the kernel (MSG_TRUNC), so that the generator costs a few
 * microseconds a request and a server can be driven to its own limit. The clock starts after a short warm-up.
 *
 * SCRIPT is a sequence of steps, each a line `LOW HIGH BODY HEAD TEXT` of numbers, then HEAD bytes of a request head and TEXT bytes of a body; with
 * TEXT 0 the body is BODY bytes of a pattern. A status outside LOW…HIGH is an error. In the head these stand for numbers:
 *   {c} the connection (4 digits) · {n} how often this connection has begun the script (8 digits) · {d} {f} directory and file (2 digits each) of the
 *   next of 10,000 files, one counter for all · {lock} the Lock-Token that the connection got last, with its brackets
 *
 * Output: one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_SECONDS 0.3
#define BUFFER (256 * 1024)
#define PATTERN (1024 * 1024)
#define SAMPLES (1 << 20)

struct step {
  int low, high, is_head;
  long body;
  size_t head_length, text_length;
  char *head, *text;
};

enum body_kind { NO_BODY, LENGTH, CHUNKED };

struct connection {
  int fd, id, writable_wanted;
  size_t at_step;
  unsigned long pass;
  double started;
  char head[8192];
  size_t head_length, head_sent;
  long body_sent;
  char *in;
  size_t in_used;
  int in_body, status;
  enum body_kind kind;
  long left;
  int chunk_state; /* 0 size line, 1 data, 2 end of data, 3 trailer */
  char lock[256];
};

static struct step *steps;
static size_t step_count;
static char *pattern;
static int port, epoll_fd;
static unsigned long next_file, done, errors, reconnects, bytes_in, bytes_out;
static int first_bad_status;
static int measuring, stopping;
static float *samples;
static size_t sample_count;

static void die(const char *what) {
  fprintf(stderr, "davload: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void read_script(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) die(path);
  struct step step = {0};
  while (fscanf(file, "%d %d %ld %zu %zu", &step.low, &step.high, &step.body, &step.head_length, &step.text_length) == 5) {
    if (fgetc(file) != '\n') die("script");
    step.head = calloc(1, step.head_length + 1);
    step.text = calloc(1, step.text_length + 1);
    if (fread(step.head, 1, step.head_length, file) != step.head_length) die("script");
    if (fread(step.text, 1, step.text_length, file) != step.text_length) die("script");
    step.is_head = strncmp(step.head, "HEAD ", 5) == 0;
    steps = realloc(steps, (step_count + 1) * sizeof step);
    steps[step_count++] = step;
  }
  fclose(file);
  if (step_count == 0) die("empty script");
}

static void watch(struct connection *c, int op, int writable) {
  struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
  c->writable_wanted = writable;
  if (epoll_ctl(epoll_fd, op, c->fd, &event) < 0) die("epoll");
}

static void connect_it(struct connection *c) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  watch(c, EPOLL_CTL_ADD, 0);
}

static void fill_head(struct connection *c, const struct step *step) {
  char *out = c->head, *end = c->head + sizeof c->head - 300;
  unsigned long file = next_file;
  int used_file = 0;
  for (const char *in = step->head; *in && out < end;) {
    if (strncmp(in, "{c}", 3) == 0) out += sprintf(out, "%04d", c->id), in += 3;
    else if (strncmp(in, "{n}", 3) == 0) out += sprintf(out, "%08lu", c->pass), in += 3;
    else if (strncmp(in, "{d}", 3) == 0) out += sprintf(out, "%02lu", file / 100 % 100), in += 3, used_file = 1;
    else if (strncmp(in, "{f}", 3) == 0) out += sprintf(out, "%02lu", file % 100), in += 3, used_file = 1;
    else if (strncmp(in, "{lock}", 6) == 0) out += sprintf(out, "%s", c->lock), in += 6;
    else *out++ = *in++;
  }
  if (used_file) next_file++;
  c->head_length = out - c->head;
}

static void pump_out(struct connection *c) {
  const struct step *step = &steps[c->at_step];
  for (;;) {
    ssize_t sent;
    if (c->head_sent < c->head_length) {
      int more = step->body > 0 ? MSG_MORE : 0;
      sent = send(c->fd, c->head + c->head_sent, c->head_length - c->head_sent, MSG_DONTWAIT | MSG_NOSIGNAL | more);
      if (sent > 0) c->head_sent += sent;
    } else if (c->body_sent < step->body) {
      long left = step->body - c->body_sent;
      const char *from = step->text_length ? step->text + c->body_sent : pattern;
      if (!step->text_length && left > PATTERN) left = PATTERN;
      sent = send(c->fd, from, left, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) c->body_sent += sent, bytes_out += measuring ? sent : 0;
    } else {
      if (c->writable_wanted) watch(c, EPOLL_CTL_MOD, 0);
      return;
    }
    if (sent < 0) {
      /* A connection that is gone shows when it is read from. */
      if (errno == EAGAIN && !c->writable_wanted) watch(c, EPOLL_CTL_MOD, 1);
      return;
    }
  }
}

static void begin(struct connection *c) {
  fill_head(c, &steps[c->at_step]);
  c->head_sent = 0;
  c->body_sent = 0;
  c->in_used = 0;
  c->in_body = 0;
  c->started = now();
  pump_out(c);
}

static void reopen(struct connection *c) {
  close(c->fd);
  if (measuring) reconnects++;
  connect_it(c);
}

static void finish(struct connection *c, int keep) {
  const struct step *step = &steps[c->at_step];
  int bad = c->status < step->low || c->status > step->high;
  if (bad && !first_bad_status) first_bad_status = c->status;
  if (measuring) {
    done++;
    errors += bad;
    if (sample_count < SAMPLES) samples[sample_count++] = (now() - c->started) * 1e6;
  }
  if (++c->at_step == step_count) c->at_step = 0, c->pass++;
  if (stopping) return;
  if (!keep) reopen(c);
  begin(c);
}

static const char *field(const char *head, const char *name) {
  size_t length = strlen(name);
  for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
    line += 2;
    if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
      line += length + 1;
      while (*line == ' ') line++;
      return line;
    }
  }
  return NULL;
}

/* Takes what has been received of a chunked body; returns 1 at its end. */
static int take_chunks(struct connection *c) {
  size_t at = 0;
  int ended = 0;
  while (at < c->in_used && !ended) {
    if (c->chunk_state == 1) {
      long n = (long)(c->in_used - at) < c->left ? (long)(c->in_used - at) : c->left;
      at += n;
      c->left -= n;
      if (c->left == 0) c->chunk_state = 2;
      continue;
    }
    char *line = c->in + at, *end = memchr(line, '\n', c->in_used - at);
    if (!end) break;
    at = end + 1 - c->in;
    if (c->chunk_state == 0) {
      c->left = strtol(line, NULL, 16);
      c->chunk_state = c->left == 0 ? 3 : 1;
    } else if (c->chunk_state == 2) {
      c->chunk_state = 0;
    } else {
      ended = end - line <= 1;
    }
  }
  memmove(c->in, c->in + at, c->in_used - at);
  c->in_used -= at;
  return ended;
}

/* Returns 1 when the head is complete, and sets what kind of body follows. */
static int take_head(struct connection *c, int *keep) {
  c->in[c->in_used] = 0;
  char *end = strstr(c->in, "\r\n\r\n");
  if (!end) return 0;
  end[2] = 0;
  c->status = atoi(c->in + 9);
  const char *length = field(c->in, "content-length"), *coding = field(c->in, "transfer-encoding");
  const char *connection = field(c->in, "connection"), *lock = field(c->in, "lock-token");
  *keep = !(connection && strncasecmp(connection, "close", 5) == 0);
  if (lock) sscanf(lock, "%255[^\r\n]", c->lock);
  if (steps[c->at_step].is_head || c->status == 204 || c->status == 304) c->kind = NO_BODY;
  else if (coding && strncasecmp(coding, "chunked", 7) == 0) c->kind = CHUNKED;
  else c->kind = LENGTH;
  c->left = c->kind == LENGTH && length ? atol(length) : 0;
  c->chunk_state = 0;
  size_t used = end + 4 - c->in;
  memmove(c->in, c->in + used, c->in_used - used);
  c->in_used -= used;
  if (c->kind == LENGTH) {
    c->left -= c->in_used;
    c->in_used = 0;
  }
  return 1;
}

static void pump_in(struct connection *c) {
  static int keep[65536];
  for (;;) {
    ssize_t got;
    if (c->in_body && c->kind == LENGTH) got = recv(c->fd, NULL, c->left, MSG_DONTWAIT | MSG_TRUNC);
    else got = recv(c->fd, c->in + c->in_used, BUFFER - c->in_used - 1, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      /* The server ended the connection between two requests, or within one. */
      if (c->in_body || c->in_used > 0) errors += measuring;
      if (stopping) return;
      reopen(c);
      begin(c);
      return;
    }
    if (measuring) bytes_in += got;
    if (c->in_body && c->kind == LENGTH) c->left -= got;
    else c->in_used += got;
    if (!c->in_body) {
      if (!take_head(c, &keep[c->id])) continue;
      if (c->status == 100) continue;
      c->in_body = 1;
    }
    int ended = c->kind == NO_BODY || (c->kind == LENGTH && c->left <= 0) || (c->kind == CHUNKED && take_chunks(c));
    if (!ended) continue;
    finish(c, keep[c->id]);
    return;
  }
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double own_cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "use: davload PORT CONNECTIONS SECONDS SCRIPT\n");
    return 2;
  }
  port = atoi(argv[1]);
  int count = atoi(argv[2]);
  double seconds = atof(argv[3]);
  read_script(argv[4]);
  pattern = malloc(PATTERN);
  for (size_t i = 0; i < PATTERN; i++) pattern[i] = i * 2654435761u >> 13;
  samples = malloc(SAMPLES * sizeof *samples);
  epoll_fd = epoll_create1(0);
  struct connection *all = calloc(count, sizeof *all);
  for (int i = 0; i < count; i++) {
    all[i].id = i;
    all[i].in = malloc(BUFFER);
    connect_it(&all[i]);
    begin(&all[i]);
  }
  double start = now(), cpu = 0, end = start + WARM_UP_SECONDS + seconds;
  struct epoll_event events[256];
  for (;;) {
    double at = now();
    if (!measuring && at >= start + WARM_UP_SECONDS) {
      measuring = 1;
      start = at;
      end = at + seconds;
      cpu = own_cpu();
      printf("measuring\n");
      fflush(stdout);
    }
    /* A request that takes longer than the time given is waited for, once. */
    if (measuring && at >= end && (done > 0 || at >= end + 60)) break;
    int n = epoll_wait(epoll_fd, events, 256, 100);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (events[i].events & EPOLLOUT) pump_out(c);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) pump_in(c);
    }
  }
  double took = now() - start;
  stopping = 1;
  qsort(samples, sample_count, sizeof *samples, by_value);
  printf("{\"requests\":%lu,\"errors\":%lu,\"badStatus\":%d,\"reconnects\":%lu,\"seconds\":%.4f,\"bytesIn\":%lu,\"bytesOut\":%lu,"
         "\"p50Us\":%.0f,\"p99Us\":%.0f,\"clientCpuSeconds\":%.4f}\n",
         done, errors, first_bad_status, reconnects, took, bytes_in, bytes_out, sample_count ? samples[sample_count / 2] : 0,
         sample_count ? samples[sample_count * 99 / 100] : 0, own_cpu() - cpu);
  return 0;
}
