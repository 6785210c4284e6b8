import { readable } from './sizes.js'

const KEY = 'arrived'
const MOST = 12
// Milliseconds: the network, or the server, may be away for a moment just when a video has arrived
const LOOK_AGAIN_AFTER = [1000, 4000]

/** The videos that have arrived, newest first: each plays from the server, and this browser remembers them. */
export class Arrived {
  constructor(section, list) {
    this.section = section
    this.list = list
    this.videos = remembered()
    this.videos.forEach((video) => this.list.append(card(video)))
    this.section.hidden = this.videos.length === 0
    window.addEventListener('online', () => this.lookAgain())
  }

  lookAgain() {
    for (const player of this.list.querySelectorAll('video')) if (player.error) player.load()
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
  const gone = made('p', { className: 'gone', hidden: true })
  const player = playerOf(name, url, gone)
  const said = made('div', { className: 'said' })
  const title = made('h3', { textContent: name, title: name })
  const link = made('a', { href: url, textContent: 'Open', target: '_blank', rel: 'noopener' })
  const actions = made('div', { className: 'actions' })
  link.setAttribute('aria-label', `Open ${name}`)
  actions.append(link, copyButton(name, url))
  said.append(title, made('p', { textContent: readable(size) }), actions)
  item.append(player, gone, said)
  return item
}

/** A player, which gives its place to `gone` for as long as there is nothing to play. */
function playerOf(name, url, gone) {
  // from a moment on, or Safari shows nothing before it plays
  const player = made('video', { controls: true, preload: 'metadata', src: `${url}#t=0.001`, playsInline: true })
  player.setAttribute('aria-label', name)
  const delays = [...LOOK_AGAIN_AFTER]
  const show = (there) => {
    player.hidden = !there
    gone.hidden = there
    gone.textContent = navigator.onLine
      ? 'This browser cannot play it, or it is no longer there.'
      : 'It plays here once the network is back.'
  }
  player.addEventListener('loadedmetadata', () => show(true))
  player.addEventListener('error', () => {
    show(false)
    if (delays.length > 0) setTimeout(() => player.load(), delays.shift())
  })
  return player
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
