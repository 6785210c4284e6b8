const DATABASE = 'uppy-blobs' // Golden Retriever's
const SOONEST = 50 // milliseconds
const LATEST = 2000

/** Has the browser ask before it leaves the page while a video is on its way that the browser does not keep (yet), so that
    it would have to be picked again. */
export class Keeping {
  constructor(uppy) {
    this.store = uppy.getID()
    this.missing = new Set()
    uppy.on('files-added', (files) => this.expect(files.map((each) => each.id)))
    uppy.on('file-removed', (file) => this.settle(file.id))
    uppy.on('upload-success', (file) => this.settle(file.id))
  }

  expect(ids) {
    ids.forEach((id) => this.missing.add(id))
    clearTimeout(this.looking)
    this.look(SOONEST)
    this.show()
  }

  settle(id) {
    this.missing.delete(id)
    this.show()
  }

  // A listener that is always there would keep the page out of the browser's back-forward cache
  show() {
    if (this.missing.size > 0) window.addEventListener('beforeunload', ask)
    else window.removeEventListener('beforeunload', ask)
  }

  look(delay) {
    this.looking = setTimeout(async () => {
      for (const id of [...this.missing]) if (await kept(this.store, id).catch(() => false)) this.settle(id)
      if (this.missing.size > 0) this.look(Math.min(delay * 1.5, LATEST))
    }, delay)
  }
}

function ask(event) {
  event.preventDefault()
}

/** Whether the video's bytes are in the database, and that they are an upload's. */
async function kept(store, id) {
  const opening = indexedDB.open(DATABASE)
  opening.onupgradeneeded = () => opening.transaction.abort() // making it is not for us
  const database = await done(opening)
  try {
    const reading = database.transaction(['files', 'metadata'])
    const bytes = done(reading.objectStore('files').count(`${store}!${id}`))
    const said = done(reading.objectStore('metadata').get(store))
    return (await bytes) > 0 && id in (JSON.parse((await said)?.metadata ?? '{}').files ?? {})
  } finally {
    database.close()
  }
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
