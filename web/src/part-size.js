const MIB = 1024 ** 2
const FIRST = 64 * MIB
const LEAST = 64 * 1024

/** How many bytes go into one request. A proxy that caps bodies (413) halves it, and that is remembered for `uploads`. */
export class PartSize {
  constructor(storage, uploads) {
    this.storage = storage
    this.key = `part-size ${uploads}`
    const kept = Number(storage.getItem(this.key))
    this.bytes = kept >= LEAST && kept <= FIRST ? kept : FIRST
  }

  /** Whether there was anything left to halve; `sent` is the most that a refused request can have had. */
  halve(sent) {
    if (this.bytes <= LEAST) return false
    this.bytes = Math.max(LEAST, Math.ceil(Math.min(this.bytes, sent) / 2))
    this.storage.setItem(this.key, String(this.bytes))
    return true
  }
}
