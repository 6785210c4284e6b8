// tus-js-client as a program: `node upload.mjs JOB` does what the JSON job says and prints what happens as JSON lines.
//
// The job: `path` of what to upload; `options` of tus.Upload; `stream` to read it as a stream of unknown size;
// `storage`, a path where URLs of uploads are remembered; `resume` to go on with the first one remembered there;
// `abortAfter` bytes to stop, and with `terminate` to have the upload removed; `again`, how often to start again, as a
// person would, where the connection broke under a request that the client itself does not repeat: the one that joins
// parallel uploads.
//
// The events: `response` (to each request), `part` (a PATCH is through), `retry`, `again`, and at last one of
// `finished`, `aborted`, `failed`.

import { createReadStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import * as tus from 'tus-js-client'

const job = JSON.parse(process.argv[2])

function say(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`)
}

function source() {
  const bytes = createReadStream(job.path)
  return job.stream ? bytes.pipe(new PassThrough()) : bytes
}

let stopped = false
let again = job.again ?? 0

async function stop() {
  if (stopped) return
  stopped = true
  await upload.abort(job.terminate === true)
  say('aborted', { url: upload.url })
}

const upload = new tus.Upload(source(), {
  ...job.options,
  ...(job.storage ? { urlStorage: new tus.FileUrlStorage(job.storage) } : {}),
  onAfterResponse(request, response) {
    say('response', {
      method: request.getMethod(),
      override: request.getHeader('X-HTTP-Method-Override') ?? null,
      status: response.getStatus(),
      offset: response.getHeader('Upload-Offset') ?? null,
      location: response.getHeader('Location') ?? null,
    })
  },
  onShouldRetry(error, attempt) {
    say('retry', { attempt, status: error.originalResponse?.getStatus() ?? null, message: error.message })
    return true
  },
  onChunkComplete(size, offset, total) {
    say('part', { size, offset, total })
  },
  onProgress(sent) {
    if (job.abortAfter !== undefined && sent >= job.abortAfter) stop()
  },
  onSuccess() {
    say('finished', { url: upload.url })
  },
  onError(error) {
    if (again > 0 && !(error instanceof tus.DetailedError)) {
      again -= 1
      say('again', { message: error.message })
      upload.start()
      return
    }
    say('failed', { message: error.message })
    process.exitCode = 1
  },
})

if (job.resume) {
  const [previous] = await upload.findPreviousUploads()
  if (previous === undefined) throw new Error(`nothing to resume in ${job.storage}`)
  upload.resumeFromPreviousUpload(previous)
}
upload.start()
