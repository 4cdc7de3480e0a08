// GET /: a page for a person with a browser. It is one answer, loads nothing from anywhere, and shows what /v1/status and /v1/events say; the
// browser is told to run nothing else.

import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { NoQuery } from './schemas.ts'
import { script } from './status-page/script.ts'
import { style } from './status-page/style.ts'

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>raft-sidecar</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main>
<header><h1 id="title">raft-sidecar</h1><span id="role" class="tag"></span></header>
<p id="diagnosis" role="status" aria-live="polite">Asking the sidecar…</p>
<form id="token" hidden>
<label>API_TOKEN <input id="secret" type="password" autocomplete="off" required></label>
<button>Show</button>
</form>
<div id="content"></div>
<footer><span id="age"></span> <a href="/readyz?verbose">readyz</a> <a href="/openapi.json">openapi.json</a></footer>
</main>
<script>${script}</script>
</body>
</html>
`

const policy = [
  "default-src 'none'",
  `script-src '${hashOf(script)}'`,
  `style-src '${hashOf(style)}'`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export function addStatusPage(app: FastifyInstance): void {
  app.get('/', { schema: { querystring: NoQuery } }, async (_request, reply) => {
    return reply
      .headers({
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': policy,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-cache',
      })
      .send(page)
  })
}

function hashOf(inline: string): string {
  return `sha256-${createHash('sha256').update(inline).digest('base64')}`
}
