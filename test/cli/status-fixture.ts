// The status of a healthy follower of three, to be changed by each test.

import { diagnose } from '../../src/api/diagnosis.ts'
import type { StatusResponse } from '../../src/api/schemas.ts'

type MemberResponse = StatusResponse['members'][number]

export function member(id: string, change: Partial<MemberResponse> = {}): MemberResponse {
  return {
    id,
    peerAddress: `${id}.example:4000`,
    role: 'voter',
    self: id === 'n1',
    leader: id === 'n2',
    reachable: true,
    refusal: null,
    matchIndex: null,
    lag: null,
    ...change,
  }
}

export function statusOf(change: Partial<StatusResponse> = {}): StatusResponse {
  const status: Omit<StatusResponse, 'diagnosis'> = {
    cluster: 'orders',
    version: '0.1.0',
    id: 'n1',
    role: 'follower',
    term: 3,
    leader: { id: 'n2', term: 3, self: false, appUrl: null },
    holdsQuorum: false,
    commitIndex: 41,
    appliedIndex: 41,
    lastIndex: 42,
    durableIndex: 42,
    firstIndex: 1,
    members: [member('n1'), member('n2'), member('n3')],
    configuration: { members: [] },
    pendingProposals: 0,
    snapshot: null,
    compactionBlocked: null,
    isStorageStalled: false,
    isStorageFull: false,
    applierBlocked: null,
    observerBlocked: null,
    poison: null,
    uptimeMs: 3_723_000,
    checks: [{ name: 'leader', ok: true, why: null }],
    ...change,
  }
  return { ...status, diagnosis: diagnose(status) }
}
