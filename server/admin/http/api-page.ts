import type { ApiDocument, ApiOperation } from './api-document.ts'

/** The API document as a page for people, without any script. */
export function apiPage({ info, paths }: ApiDocument): string {
  const verbs = Object.entries(paths).map(([path, operations]) => verbSection(path, operations))
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>overlayd: admin API</title></head><body>
<h1>overlayd ${asText(info.version)}: admin API</h1>
<p>${asText(info.description).replaceAll(/`([^`]+)`/g, '<code>$1</code>')}</p>
<p>The same for programs: <a href="/openapi.json">openapi.json</a>.</p>
${verbs.join('\n')}
</body></html>
`
}

function verbSection(path: string, operations: Readonly<Record<string, ApiOperation>>): string {
  const [first] = Object.values(operations)
  const methods = Object.keys(operations).map((method) => method.toUpperCase())
  const body = operations.post?.requestBody
  const order = body === undefined ? '' : details('Order', body)
  return `<h2><code>${methods.join(', ')} ${asText(path)}</code></h2>
<p>${asText(first?.summary ?? '')}</p>${order}${details('Answers', first?.responses ?? {})}`
}

function details(title: string, value: object): string {
  return `<details><summary>${title}</summary><pre>${asText(JSON.stringify(value, null, 2))}</pre></details>`
}

function asText(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`)
}
