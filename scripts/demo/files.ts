// The files below a folder, and the tasks that are made of them.

import { lstat, opendir } from 'node:fs/promises'
import { join, relative } from 'node:path'

export interface NewTask {
  readonly id: string
  /** Relative to the folder. */
  readonly path: string
}

const skipped = new Set(['node_modules', '.git'])
/** A file must be hashed well within its lease. */
const largestBytes = 16 * 1024 * 1024

/** At most `limit` regular files, in the order of their paths. */
export async function filesBelow(folder: string, limit: number): Promise<string[]> {
  const files: string[] = []
  const directories = [folder]
  for (
    let directory = directories.pop();
    directory !== undefined && files.length < limit;
    directory = directories.pop()
  ) {
    for await (const entry of await opendir(directory)) {
      const path = join(directory, entry.name)
      if (entry.isDirectory() && !skipped.has(entry.name)) directories.push(path)
      if (entry.isFile() && (await lstat(path)).size <= largestBytes) files.push(relative(folder, path))
    }
  }
  return files.sort().slice(0, limit)
}

/** Goes round the files until there are enough tasks. */
export function tasksOf(files: readonly string[], count: number): NewTask[] {
  const tasks: NewTask[] = []
  while (tasks.length < count) {
    for (const path of files.slice(0, count - tasks.length)) tasks.push({ id: `t${tasks.length + 1}`, path })
  }
  return tasks
}
