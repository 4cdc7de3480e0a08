/** Parts of a list in order, each of at most so many items; one part of an empty list. */
export function sliceList<Item>(items: readonly Item[], maxItems: number): readonly (readonly Item[])[] {
  if (items.length <= maxItems) return [items]
  const parts: (readonly Item[])[] = []
  for (let start = 0; start < items.length; start += maxItems) parts.push(items.slice(start, start + maxItems))
  return parts
}
