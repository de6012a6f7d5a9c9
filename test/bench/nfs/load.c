/*
 * nfs-load: drives one NFSv3 procedure of a server as fast as it answers, over CONNECTIONS connections that each have
 * REQUESTS calls under way, and prints one line of JSON. One thread and one poll loop; what is due on a connection leaves in
 * one write, so that the server and not this program is what is measured. Every reply is checked: transaction id, statuses,
 * counts, and the data of reads.
 */
#define _GNU_SOURCE
#include "operations.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
#define WARM_UP_NS 300000000u
#define DRAIN_NS 20000000000u

static uint64_t done, refused;
static uint32_t last_status;

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Latencies in buckets of three per cent: 32 for every power of two. */
static uint64_t buckets[64 * 32];
static void count_latency(uint64_t ns) {
  if (ns < 32) ns = 32;
  int power = 63 - __builtin_clzll(ns);
  buckets[power * 32 + ((ns >> (power - 5)) & 31)]++;
}
static double latency_us(double part) {
  uint64_t seen = 0, all = 0;
  for (size_t i = 0; i < 64 * 32; i++) all += buckets[i];
  for (size_t i = 0; i < 64 * 32; i++) {
    seen += buckets[i];
    if (all > 0 && (double)seen >= part * (double)all) return (double)(32 + i % 32) * (double)(1ull << (i / 32 - 5)) / 1e3;
  }
  return 0;
}

static int measuring, stopping;

static void issue(const struct operation *op, struct connection *c, struct slot *slot, int fresh) {
  static uint32_t sequence;
  slot->xid = ++sequence << 8 | (uint32_t)(slot - c->slots);
  slot->busy = 1;
  if (fresh) {
    slot->step = 0;
    slot->since = now_ns();
  }
  op->begin(c, slot, &c->out);
  c->under_way++;
}

static void answered(const struct operation *op, struct connection *c, const uint8_t *message, size_t bytes) {
  size_t length, index = word_at(message) & 255;
  struct slot *slot = &c->slots[index];
  if (bytes < 24 || !slot->busy || slot->xid != word_at(message)) fail("a reply to no call");
  const uint8_t *results = results_of(message, bytes, &length);
  int finished = 1;
  c->under_way--;
  slot->busy = 0;
  if (op->end != NULL && word_at(results) != 0) {
    refused++;
    last_status = word_at(results);
  } else {
    if (op->end != NULL) finished = op->end(slot, results, length);
    if (finished && measuring) {
      done++;
      count_latency(now_ns() - slot->since);
    }
  }
  /* At the end what was begun is brought to its end, so that no file is left over. */
  if (!finished || !stopping) issue(op, c, slot, finished);
}

static void take_replies(const struct operation *op, struct connection *c) {
  struct buffer *in = &c->in;
  if (in->room - in->used < 2 * MIB) in->data = must(realloc(in->data, in->room = in->used + 4 * MIB));
  ssize_t count = stream_read(c->fd, in->data + in->used, in->room - in->used);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0) fail("%s: connection lost: %s", op->name, count < 0 ? strerror(errno) : "closed by the server");
  in->used += (size_t)count;
  size_t at = 0;
  for (;;) {
    /* Joins the fragments of a record in place: every mark but the first is written over. */
    size_t from = at, body = 0;
    uint32_t mark = 0;
    while (!(mark >> 31) && in->used - from >= 4) {
      mark = word_at(in->data + from);
      uint32_t part = mark & 0x7fffffff;
      if (in->used - from - 4 < part) mark = 0;
      if (in->used - from - 4 < part) break;
      body += part;
      from += 4 + part;
    }
    if (!(mark >> 31)) break;
    size_t to = at + 4;
    for (size_t part = at; part < from;) {
      uint32_t size = word_at(in->data + part) & 0x7fffffff;
      if (to != part + 4) memmove(in->data + to, in->data + part + 4, size);
      to += size;
      part += 4 + size;
    }
    answered(op, c, in->data + at + 4, body);
    at = from;
  }
  memmove(in->data, in->data + at, in->used - at);
  in->used -= at;
}

static void send_calls(const struct operation *op, struct connection *c) {
  while (c->sent < c->out.used) {
    ssize_t count = stream_write(c->fd, c->out.data + c->sent, c->out.used - c->sent);
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) fail("%s: connection lost: %s", op->name, strerror(errno));
    c->sent += (size_t)count;
  }
  c->sent = c->out.used = 0;
}

static double cpu_of(int pid) {
  char path[64], text[1024];
  unsigned long user = 0, system = 0;
  if (pid == 0) return 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = 0;
  char *after = strrchr(text, ')');
  if (after != NULL) sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
static double own_cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

enum { MOST_PIDS = 4 };
struct settings {
  const char *host, *export, *directory;
  int port, mount_port, connections, requests, pids[MOST_PIDS], pid_count;
  double seconds;
};

/* Of all processes of the server. */
static double cpu_of_server(const struct settings *s) {
  double sum = 0;
  for (int i = 0; i < s->pid_count; i++) sum += cpu_of(s->pids[i]);
  return sum;
}

static int under_way(struct connection *all, int count) {
  int sum = 0;
  for (int i = 0; i < count; i++) sum += all[i].under_way;
  return sum;
}

static void measure(const struct operation *op, const struct settings *s) {
  struct connection *all = must(calloc((size_t)s->connections, sizeof *all));
  struct pollfd *polled = must(calloc((size_t)s->connections, sizeof *polled));
  for (int i = 0; i < s->connections; i++) {
    all[i].number = i;
    all[i].fd = connect_to(s->host, s->port);
    fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
    for (int j = 0; j < s->requests; j++) issue(op, &all[i], &all[i].slots[j], 1);
  }
  uint64_t from = now_ns() + WARM_UP_NS, until = UINT64_MAX, ended = 0;
  double server_cpu = 0, client_cpu = 0;
  while (!stopping || under_way(all, s->connections) > 0) {
    uint64_t now = now_ns();
    if (!measuring && !stopping && now >= from) {
      measuring = 1;
      from = now;
      until = from + (uint64_t)(s->seconds * 1e9);
      moved = 0;
      server_cpu = cpu_of_server(s);
      client_cpu = own_cpu();
    }
    if (measuring && now >= until) {
      measuring = 0;
      stopping = 1;
      ended = now;
      server_cpu = cpu_of_server(s) - server_cpu;
      client_cpu = own_cpu() - client_cpu;
    }
    if (stopping && now > ended + DRAIN_NS) fail("%s: no answer to the last calls", op->name);
    for (int i = 0; i < s->connections; i++) {
      send_calls(op, &all[i]);
      polled[i] = (struct pollfd){ .fd = all[i].fd, .events = (short)(POLLIN | (all[i].out.used > 0 ? POLLOUT : 0)) };
    }
    poll(polled, (nfds_t)s->connections, 100);
    for (int i = 0; i < s->connections; i++) if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) take_replies(op, &all[i]);
  }
  double seconds = (double)(ended - from) / 1e9, per_op = done > 0 ? 1e6 / (double)done : 0;
  printf("{\"op\":\"%s\",\"rate\":%.1f,\"megabytes\":%.2f,\"p50us\":%.1f,\"p99us\":%.1f,\"serverCpuUs\":%.2f,\"clientCores\":%.2f,"
         "\"refused\":%" PRIu64 ",\"lastStatus\":%u,\"wrong\":%" PRIu64 "}\n",
         op->name, (double)done / seconds, (double)moved / seconds / 1e6, latency_us(0.5), latency_us(0.99), server_cpu * per_op,
         client_cpu / seconds, refused, last_status, wrong);
}

static void usage(void) {
  fputs("usage: nfs-load --port N [--mount-port N] [--host H] [--export PATH] [--directory NAME] [--connections N] [--requests N]\n"
        "                [--seconds S] [--pid SERVER]… [--uid N] [--gid N] [--tls | --starttls] OPERATION\n"
        "OPERATION `touch` writes to every file once; `find` only looks everything up; the others are measured:\n", stderr);
  for (size_t i = 0; i < operation_count; i++) fprintf(stderr, "  %-14s %s\n", operations[i].name, operations[i].meaning);
  exit(2);
}

int main(int argc, char **argv) {
  struct settings s = { .host = "127.0.0.1", .export = "/overlay", .directory = "lower", .connections = 1, .requests = 1, .seconds = 1 };
  static const struct option words[] = {
    { "host", 1, 0, 'h' }, { "port", 1, 0, 'p' }, { "mount-port", 1, 0, 'm' }, { "export", 1, 0, 'e' }, { "directory", 1, 0, 'd' },
    { "connections", 1, 0, 'c' }, { "requests", 1, 0, 'r' }, { "seconds", 1, 0, 's' }, { "pid", 1, 0, 'P' }, { "uid", 1, 0, 'u' },
    { "gid", 1, 0, 'g' }, { "tls", 0, 0, 't' }, { "starttls", 0, 0, 'T' }, { 0, 0, 0, 0 } };
  for (int word; (word = getopt_long(argc, argv, "", words, NULL)) != -1;) switch (word) {
    case 'h': s.host = optarg; break;
    case 'p': s.port = atoi(optarg); break;
    case 'm': s.mount_port = atoi(optarg); break;
    case 'e': s.export = optarg; break;
    case 'd': s.directory = optarg; break;
    case 'c': s.connections = atoi(optarg); break;
    case 'r': s.requests = atoi(optarg); break;
    case 's': s.seconds = atof(optarg); break;
    case 'P': if (s.pid_count < MOST_PIDS) s.pids[s.pid_count++] = atoi(optarg); break;
    case 'u': caller_uid = (uint32_t)strtoul(optarg, NULL, 10); break;
    case 'g': caller_gid = (uint32_t)strtoul(optarg, NULL, 10); break;
    case 't': encryption = TLS_AT_ONCE; break;
    case 'T': encryption = TLS_AFTER_PROBE; break;
    default: usage();
  }
  if (optind + 1 != argc || s.port == 0 || s.connections < 1 || s.requests < 1 || s.requests > MAX_REQUESTS) usage();
  const char *wanted = argv[optind];
  find_tree(&tree, s.host, s.port, s.mount_port ? s.mount_port : s.port, s.export, s.directory);
  if (strcmp(wanted, "find") == 0) return 0;
  if (strcmp(wanted, "touch") == 0) {
    touch_tree(&tree, s.host, s.port);
    return 0;
  }
  for (size_t i = 0; i < operation_count; i++) if (strcmp(wanted, operations[i].name) == 0) {
    measure(&operations[i], &s);
    return 0;
  }
  usage();
}
