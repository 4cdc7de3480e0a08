// A real ext4 of its own for a test: a file that is mounted over a loop device. It can be filled, hang, and lose power under whoever writes to it.
// Needs root and a few tools; where they are missing the test that wants one says so and is skipped.

import { execFile, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const probe = `
set -e
directory=$(mktemp -d)
trap 'umount "$directory/mnt" 2>/dev/null; rm -rf "$directory"' EXIT
truncate -s 4M "$directory/image"
mkdir "$directory/mnt"
mkfs.ext4 -q -F "$directory/image"
mount -o loop "$directory/image" "$directory/mnt"
python3 -c 'import fcntl'
fsfreeze --freeze "$directory/mnt"
fsfreeze --unfreeze "$directory/mnt"
`

/** FS_IOC_SHUTDOWN with NOLOGFLUSH: what is not on the disk by now never gets there, and every open file answers EIO. */
const shutDown = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))
`

/** In a sentence; false: there can be one. For `skip`. */
export function whyNoLoopDisk(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'mounting a loop device takes root on Linux'
  const { status, stderr } = spawnSync('sh', ['-c', probe], { encoding: 'utf8' })
  return status === 0 ? false : `no ext4 can be mounted over a loop device here: ${stderr.trim() || `status ${status}`}`
}

export class LoopDisk {
  /** The root of the file system. */
  readonly path: string
  readonly #image: string
  readonly #filler: string
  #isFrozen = false

  private constructor(directory: string) {
    this.path = join(directory, 'mnt')
    this.#image = join(directory, 'image')
    this.#filler = join(this.path, 'filler')
  }

  /** Gone after the test, whatever comes; who has files open on it by then must have ended, or be ended by a later `t.after`. */
  static async make(t: TestContext, sizeMiB: number): Promise<LoopDisk> {
    const directory = await mkdtemp(join(tmpdir(), 'raft-loop-'))
    const disk = new LoopDisk(directory)
    t.after(async () => {
      await disk.thaw()
      await disk.#unmount().catch(() => run('umount', ['--lazy', disk.path]))
      await rm(directory, { recursive: true, force: true })
    })
    await mkdir(disk.path)
    await run('truncate', ['-s', `${sizeMiB}M`, disk.#image])
    await run('mkfs.ext4', [
      '-q',
      '-F',
      '-b',
      '4096',
      '-m0',
      '-E',
      'lazy_itable_init=0,lazy_journal_init=0',
      disk.#image,
    ])
    await disk.#mount()
    return disk
  }

  /** Leaves so much free, or a little less. */
  async fill(leftBytes = 0): Promise<void> {
    const file = await open(this.#filler, 'a')
    try {
      for (const chunkBytes of [1024 * 1024, 4096, 512]) {
        const chunk = Buffer.alloc(chunkBytes)
        while (await taken(file.write(chunk))) {}
      }
      if (leftBytes > 0) await file.truncate(Math.max((await file.stat()).size - leftBytes, 0))
      await file.sync()
    } finally {
      await file.close()
    }
  }

  /** Takes away what `fill` put there. */
  empty(): Promise<void> {
    return rm(this.#filler, { force: true })
  }

  /** The power fails. */
  async shutDown(): Promise<void> {
    await run('python3', ['-c', shutDown, this.path])
  }

  /** Whoever writes to it, or makes anything durable, waits until `thaw`, and cannot be killed meanwhile: not even a write to the page cache returns. */
  async freeze(): Promise<void> {
    await run('fsfreeze', ['--freeze', this.path])
    this.#isFrozen = true
  }

  async thaw(): Promise<void> {
    if (!this.#isFrozen) return
    await run('fsfreeze', ['--unfreeze', this.path])
    this.#isFrozen = false
  }

  /** The power is back. Whoever had files open here must have ended. */
  async remount(): Promise<void> {
    await this.#unmount()
    await this.#mount()
  }

  async #mount(): Promise<void> {
    await run('mount', ['-o', 'loop', this.#image, this.path])
  }

  /** A process that was just ended may hold it for an instant; and until the loop device is gone, too, a new mount would see what this one left in memory. */
  async #unmount(): Promise<void> {
    for (let attempt = 1; await isMounted(this.path); attempt++) {
      await run('umount', [this.path]).catch(async (error: unknown) => {
        if (attempt === 100) throw error
        await delay(20)
      })
    }
    for (let attempt = 1; (await run('losetup', ['--associated', this.#image])).stdout.trim() !== ''; attempt++) {
      if (attempt === 100) throw new Error(`${this.#image} is still attached to a loop device`)
      await delay(20)
    }
  }
}

/** False: there was no room for it. */
async function taken(write: Promise<{ bytesWritten: number }>): Promise<boolean> {
  try {
    await write
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return false
    throw error
  }
}

async function isMounted(path: string): Promise<boolean> {
  return (await readFile('/proc/self/mounts', 'utf8')).includes(` ${path} `)
}
