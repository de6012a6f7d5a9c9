import { METRICS } from '../../server/metrics/metrics.ts'

const HEAD = `<!-- Generated from server/metrics by npm run docs. -->

# Metrics

A server tells Prometheus, and others that read its text format, what it does:

\`\`\`sh
S=/var/lib/overlayd/run/$(pidof overlayd).sock
curl --unix-socket $S http://localhost/metrics
\`\`\`

| path | answer |
|---|---|
| \`/metrics\` | all metrics below, Prometheus text format 0.0.4 |
| \`/healthz\` | 200 while the event loop turns |
| \`/readyz\` | 200 while clients are served; 503 while the server starts or stops |

The [admin socket](admin.md) answers them to root and to the user of the server.

LISTENER
[deploy/grafana/overlayd.json](../deploy/grafana/overlayd.json) is a dashboard for Grafana 10 and later: *Dashboards*, *New*, *Import*.

No metric has a user, a view of a user, a client or a path as a label. So there are never more series than doors, operations and templates allow, and who reads metrics learns nothing about single users; \`overlayd who\` and \`usage\` tell that
to administrators.

## Traces

Lines of the log about a WebDAV request have \`trace\`: the trace id of its header field \`traceparent\` ([W3C Trace Context](https://www.w3.org/TR/trace-context/)), or a random one.

## All metrics

| name | type | labels | meaning |
|---|---|---|---|
`

const DOORS = `
\`door\`: \`webdav\`, \`nfs3\`, \`nfs4\`, \`mount\`, \`nlm\`, \`nsm\`; where protocols share a port, \`http\` or \`nfs\`; \`boot\`. \`operation\`: the HTTP method, or the procedure by its name in the RFC without \`NFSPROC3_\` and the like; all of NFSv4 is \`COMPOUND\`. An operation appears with its
first request.
Histograms have the buckets that Prometheus expects, from 0.05 ms to 60 s.
`

/** The page about metrics. */
export function metricsPage(): string {
  const rows = METRICS.map(({ name, type, labels, meaning }) => {
    const shown = labels.map((label) => `\`${label}\``).join(', ')
    return `| \`${name}\` | ${type} | ${shown} | ${meaning}. |\n`
  })
  return HEAD.replace('LISTENER\n', LISTENER) + rows.join('') + DOORS
}

const LISTENER = `Prometheus does not ask Unix sockets. With the table \`[metrics]\` in the [configuration file](config.md) they are served on a listener of its own, by default at 127.0.0.1:9464, and nothing else there:

\`\`\`toml
[metrics]
listen = "127.0.0.1:9464"
\`\`\`

\`\`\`yaml
scrape_configs:
  - job_name: overlayd
    static_configs:
      - targets: ["127.0.0.1:9464"]
\`\`\`

There is no login. Give it another address only in a network where all may know how busy the server is. At most 32 connections are open at a time.

`
