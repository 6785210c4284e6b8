import { readable } from './sizes.js'

const WINDOW = 3000 // milliseconds

/** Says in `element` how fast all uploads together have gone in the last seconds, and nothing when none goes. */
export class Speed {
  constructor(uppy, element) {
    this.element = element
    this.sent = new Map()
    this.samples = []
    uppy.on('upload-progress', (file, progress) => this.moved(file.id, progress.bytesUploaded))
    uppy.on('file-removed', (file) => this.sent.delete(file.id))
    window.setInterval(() => this.show(), 500)
  }

  moved(id, bytes) {
    const before = this.sent.get(id)
    this.sent.set(id, bytes)
    // where an upload goes on after a break, the first figure is what was there already
    if (before !== undefined && bytes > before) this.samples.push({ at: performance.now(), bytes: bytes - before })
  }

  show() {
    const since = performance.now() - WINDOW
    this.samples = this.samples.filter((each) => each.at > since)
    const bytes = this.samples.reduce((sum, each) => sum + each.bytes, 0)
    this.element.textContent = bytes ? `${readable(bytes / (WINDOW / 1000))}/s` : ''
  }
}
