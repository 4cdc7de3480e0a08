// How the status page looks: light and dark, and on a phone.

export const style = `
:root { --ink: #1a1c1f; --faint: #5d6470; --page: #f6f7f9; --card: #fff; --line: #dfe3e8; --good: #116a3a; --bad: #a8201a; --bar: #3a6ea5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --faint: #9aa3af; --page: #14161a; --card: #1d2026; --line: #31363f; --good: #57c98a; --bad: #ff8a80; --bar: #7fb0e6; }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.45 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 1rem }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .6rem }
h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin: 1.4rem 0 .5rem }
.tag { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem; color: var(--faint) }
.tag:empty { display: none }
#diagnosis { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--faint); border-radius: .3rem; padding: .7rem .9rem; overflow-wrap: anywhere }
#diagnosis.good { border-left-color: var(--good) }
#diagnosis.bad { border-left-color: var(--bad) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .6rem; margin: 0 }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .3rem; padding: .4rem .6rem; min-width: 0 }
dt { color: var(--faint); font-size: .85rem }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
.members { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .6rem; padding: 0; margin: 0; list-style: none }
.members li { background: var(--card); border: 1px solid var(--line); border-radius: .3rem; padding: .5rem .7rem; min-width: 0; overflow-wrap: anywhere }
.members p { margin: .15rem 0 0; color: var(--faint) }
.checks { list-style: none; padding: 0; margin: 0 }
.good { color: var(--good) }
.bad { color: var(--bad) }
#diagnosis.good, #diagnosis.bad { color: var(--ink) }
form, footer { margin-top: 1rem }
footer { color: var(--faint); font-size: .9rem }
a { color: var(--bar) }
input, button { font: inherit; padding: .3rem .5rem; max-width: 100% }
`
