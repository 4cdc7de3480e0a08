// As much of a browser as the status page needs: elements that hold text and other elements, and no way to put in markup.

export class FakeElement {
  readonly name: string
  readonly attributes = new Map<string, string>()
  readonly listeners = new Map<string, (event: { preventDefault(): void }) => void>()
  children: (FakeElement | string)[] = []
  hidden = false
  className = ''
  value = ''

  constructor(name: string) {
    this.name = name
  }

  get textContent(): string {
    return this.children.map((child) => (typeof child === 'string' ? child : child.textContent)).join('')
  }
  set textContent(text: string) {
    this.children = [text]
  }
  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value)
  }
  append(...children: (FakeElement | string)[]): void {
    this.children.push(...children)
  }
  replaceChildren(...children: (FakeElement | string)[]): void {
    this.children = children
  }
  addEventListener(type: string, listener: (event: { preventDefault(): void }) => void): void {
    this.listeners.set(type, listener)
  }
  /** All elements below of that name. */
  all(name: string): FakeElement[] {
    const below = this.children.flatMap((child) => (typeof child === 'string' ? [] : [child, ...child.all(name)]))
    return below.filter((element) => element.name === name)
  }
}

export class FakeDocument extends FakeElement {
  title = ''
  readonly #elements: ReadonlyMap<string, FakeElement>

  /** With an empty element for each id. */
  constructor(ids: readonly string[]) {
    super('document')
    this.#elements = new Map(ids.map((id) => [id, new FakeElement(id)]))
  }

  getElementById(id: string): FakeElement | null {
    return this.#elements.get(id) ?? null
  }
  createElement(name: string): FakeElement {
    return new FakeElement(name)
  }
}
