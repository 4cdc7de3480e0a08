// What of a thrown value is fit for a sentence.

export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // A name that resolves to several addresses fails with an error that has a code and no message.
  return error.message === '' && 'code' in error ? String(error.code) : error.message
}
