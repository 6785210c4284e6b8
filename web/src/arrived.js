import { readable } from './sizes.js'

const KEY = 'arrived'
const MOST = 12

/** The videos that have arrived, newest first: each plays from the server, and this browser remembers them. */
export class Arrived {
  constructor(section, list) {
    this.section = section
    this.list = list
    this.videos = remembered()
    this.videos.forEach((video) => this.list.append(card(video)))
    this.section.hidden = this.videos.length === 0
  }

  add(video) {
    if (this.videos.some((each) => each.url === video.url)) return
    this.videos = [video, ...this.videos].slice(0, MOST)
    window.localStorage.setItem(KEY, JSON.stringify(this.videos))
    this.list.prepend(card(video))
    while (this.list.children.length > MOST) this.list.lastElementChild.remove()
    this.section.hidden = false
  }
}

function remembered() {
  try {
    const kept = JSON.parse(window.localStorage.getItem(KEY))
    return Array.isArray(kept) ? kept : []
  } catch {
    return []
  }
}

function card({ name, size, url }) {
  const item = made('li', { className: 'video' })
  const player = made('video', { controls: true, preload: 'metadata', src: url, playsInline: true })
  player.setAttribute('aria-label', name)
  const gone = made('p', { className: 'gone', textContent: 'This browser cannot play it, or it is no longer there.' })
  player.addEventListener('error', () => player.replaceWith(gone))
  const said = made('div', { className: 'said' })
  const title = made('h3', { textContent: name, title: name })
  const link = made('a', { href: url, textContent: 'Open', target: '_blank', rel: 'noopener' })
  const actions = made('div', { className: 'actions' })
  link.setAttribute('aria-label', `Open ${name}`)
  actions.append(link, copyButton(name, url))
  said.append(title, made('p', { textContent: readable(size) }), actions)
  item.append(player, said)
  return item
}

function copyButton(name, url) {
  const button = made('button', { type: 'button', textContent: 'Copy link' })
  button.setAttribute('aria-label', `Copy link to ${name}`)
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(url)
      button.textContent = 'Copied'
    } catch {
      window.prompt('The link to copy:', url)
    }
  })
  return button
}

function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties)
}
