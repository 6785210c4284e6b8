const WIDTH = 640
const AT = 0.5 // seconds: the very first picture is often black
const PATIENCE = 5000 // milliseconds

/** Gives each video in the list a picture of itself. What this browser cannot play keeps its icon. */
export class Pictures {
  constructor(uppy) {
    this.uppy = uppy
    this.tried = new Set()
    this.last = Promise.resolve()
    for (const moment of ['files-added', 'restored']) uppy.on(moment, () => this.takeAll())
    uppy.on('file-removed', (file) => this.tried.delete(file.id))
  }

  takeAll() {
    for (const file of this.uppy.getFiles()) {
      if (file.preview || !(file.data instanceof Blob) || this.tried.has(file.id)) continue
      this.tried.add(file.id)
      this.last = this.last.then(() => this.take(file)) // one after the other: each needs a decoder
    }
  }

  async take({ id, data }) {
    const picture = await pictureOf(data).catch(() => null)
    if (picture && this.uppy.getFile(id)) this.uppy.setFileState(id, { preview: URL.createObjectURL(picture) })
  }
}

async function pictureOf(video) {
  const player = Object.assign(document.createElement('video'), { muted: true, playsInline: true, preload: 'auto' })
  const url = URL.createObjectURL(video)
  try {
    const known = happens(player, 'loadedmetadata')
    player.src = url
    await known
    const there = happens(player, 'seeked')
    player.currentTime = Math.min(AT, player.duration / 2)
    await there
    return await drawn(player)
  } finally {
    player.removeAttribute('src')
    player.load()
    URL.revokeObjectURL(url)
  }
}

function drawn(player) {
  const width = Math.min(WIDTH, player.videoWidth)
  const height = Math.round((width * player.videoHeight) / player.videoWidth)
  const canvas = Object.assign(document.createElement('canvas'), { width, height })
  canvas.getContext('2d').drawImage(player, 0, 0, width, height)
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.8))
}

function happens(player, name) {
  return new Promise((resolve, reject) => {
    player.addEventListener(name, resolve, { once: true })
    player.addEventListener('error', reject, { once: true })
    setTimeout(reject, PATIENCE)
  })
}
