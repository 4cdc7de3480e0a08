// What the status page does, in the JavaScript of the browser. All that comes from the sidecar is put in as text, never as markup.

export const script = `'use strict'
{
  const refreshMs = 2000
  const byId = (id) => document.getElementById(id)
  let token = sessionStorage.getItem('token')
  let updatedAt = null
  let isAsking = false
  let isAskedAgain = false

  function element(name, attributes, ...children) {
    const made = document.createElement(name)
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
    made.append(...children)
    return made
  }

  function call(path) {
    const headers = token === null ? {} : { authorization: 'Bearer ' + token }
    return fetch(path, { headers, cache: 'no-store' })
  }

  function say(sentence, isGood) {
    byId('diagnosis').textContent = sentence
    byId('diagnosis').className = isGood ? 'good' : 'bad'
  }

  function facts(pairs) {
    return element('dl', {}, ...pairs.map(([name, value]) =>
      element('div', {}, element('dt', {}, name), element('dd', {}, String(value)))))
  }

  function memberOf(member) {
    const role = member.leader ? 'leader' : member.role
    const state = member.self ? 'this node' : member.refusal !== null ? 'refused' : member.reachable ? 'reachable' : 'not reachable'
    const isGood = member.self || (member.reachable && member.refusal === null)
    const log = member.matchIndex === null ? [] :
      [element('p', {}, 'holds entry ' + member.matchIndex + ', lag ' + member.lag)]
    const refusal = member.refusal === null ? [] : [element('p', { class: 'bad' }, member.refusal)]
    return element('li', {},
      element('strong', {}, member.id), ' ' + role + ', ', element('span', { class: isGood ? 'good' : 'bad' }, state),
      element('p', {}, member.peerAddress), ...log, ...refusal)
  }

  function checkOf(check) {
    const mark = element('span', { class: check.ok ? 'good' : 'bad' }, check.ok ? 'ok ' : 'failed ')
    return element('li', {}, mark, check.name + (check.ok ? '' : ': ' + check.why))
  }

  function show(status) {
    const isGood = status.checks.every((check) => check.ok) && status.diagnosis.startsWith('All is well')
    document.title = (isGood ? '' : '(!) ') + status.id + ' of ' + status.cluster
    byId('title').textContent = status.id + ' of ' + status.cluster
    byId('role').textContent = status.role
    say(status.diagnosis, isGood)
    byId('content').replaceChildren(
      element('h2', {}, 'Members'),
      element('ul', { class: 'members' }, ...status.members.map(memberOf)),
      element('h2', {}, 'This node'),
      facts([
        ['Leader', status.leader === null ? 'none' : status.leader.id],
        ['Term', status.term],
        ['Committed', status.commitIndex],
        ['Applied', status.appliedIndex],
        ['To be applied', Math.max(0, status.commitIndex - status.appliedIndex)],
        ['Durable', status.durableIndex],
        ['Log', status.firstIndex + ' to ' + status.lastIndex],
        ['Snapshot', status.snapshot === null ? 'none' : 'through ' + status.snapshot.index],
        ['Proposals waiting', status.pendingProposals],
        ['Version', status.version],
      ]),
      element('h2', {}, 'Ready'),
      element('ul', { class: 'checks' }, ...status.checks.map(checkOf)),
    )
    updatedAt = Date.now()
    showAge()
  }

  function showAge() {
    const seconds = updatedAt === null ? null : Math.round((Date.now() - updatedAt) / 1000)
    byId('age').textContent = seconds === null ? '' : seconds < 5 ? 'Up to date.' : 'As of ' + seconds + ' s ago.'
  }

  /** One request at a time; what comes meanwhile asks once more. */
  async function refresh() {
    if (isAsking) {
      isAskedAgain = true
      return
    }
    isAsking = true
    try {
      const answer = await call('/v1/status')
      byId('token').hidden = answer.status !== 401
      if (answer.ok) show(await answer.json())
      else if (answer.status === 401) say('This sidecar wants its API_TOKEN.', false)
      else say((await answer.json()).detail, false)
    } catch {
      say('The sidecar does not answer: is its process running?', false)
    }
    isAsking = false
    if (!isAskedAgain) return
    isAskedAgain = false
    await refresh()
  }

  /** EventSource cannot send a token. An event says that something changed; what, is read from the status. */
  async function listen() {
    for (;;) {
      try {
        const answer = await call('/v1/events')
        if (answer.ok) {
          const reader = answer.body.getReader()
          while (!(await reader.read()).done) void refresh()
        }
      } catch {}
      await new Promise((resolve) => setTimeout(resolve, refreshMs))
    }
  }

  byId('token').addEventListener('submit', (event) => {
    event.preventDefault()
    token = byId('secret').value
    sessionStorage.setItem('token', token)
    void refresh()
  })
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void refresh()
  })
  // Indexes move without an event.
  setInterval(() => {
    showAge()
    if (!document.hidden) void refresh()
  }, refreshMs)
  void refresh()
  void listen()
}
`
