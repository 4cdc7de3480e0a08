// Everything that is checked, in order: what rests on a snapshot that restores well comes behind the check for that.

import type { Check } from './check.ts'
import { determinism } from './checks/determinism.ts'
import { faults } from './checks/faults.ts'
import { leadership } from './checks/leadership.ts'
import { replay } from './checks/replay.ts'
import { signatures } from './checks/signatures.ts'
import { snapshots } from './checks/snapshots.ts'
import { taking } from './checks/taking.ts'

export const allChecks: readonly Check[] = [
  ...taking,
  ...snapshots,
  ...determinism,
  ...replay,
  ...faults,
  ...signatures,
  ...leadership,
]
