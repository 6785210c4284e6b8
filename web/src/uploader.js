import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import GoldenRetriever from '@uppy/golden-retriever'
import ScreenCapture from '@uppy/screen-capture'
import Tus from '@uppy/tus'
import Webcam from '@uppy/webcam'
import { PartSize } from './part-size.js'

const GIB = 1024 ** 3
// Half an hour of a server that is away; tus-js-client counts anew whenever an upload has moved
const RETRIES = [0, 500, 1000, 2000, ...Array(360).fill(5000)]

/** Uppy below `target`, sending to `uploads`: what has arrived is told to `arrived`, what is waited for to `waiting`. */
export function uploader({ uploads, target, arrived, waiting }) {
  const uppy = new Uppy({
    id: 'videos',
    autoProceed: true,
    restrictions: { allowedFileTypes: ['video/*'] },
    locale: { strings: { noInternetConnection: 'Waiting for the network', connectedToInternet: 'The network is back' } },
  })
  uppy.use(Dashboard, {
    target,
    inline: true,
    width: '100%',
    height: 420,
    theme: 'auto',
    proudlyDisplayPoweredByUppy: false,
    note: 'Any video of any size. It starts at once.',
    doneButtonHandler: () => uppy.clear(),
    locale: {
      strings: {
        dropPasteImportFiles: 'Drop videos here, %{browseFiles} or record:',
        browseFiles: 'pick them',
        dropHint: 'Drop the videos here',
        dashboardTitle: 'Videos on their way',
        importFrom: '%{name}',
        myDevice: 'This device',
      },
    },
  })
  uppy.use(Webcam, { modes: ['video-audio'], showRecordingLength: true })
  uppy.use(ScreenCapture, { enableScreenshots: false, locale: { strings: { pluginNameScreenCapture: 'Screen' } } })
  uppy.use(GoldenRetriever, { indexedDB: { maxFileSize: 2 * GIB, maxTotalSize: 4 * GIB } })
  useTus(uppy, uploads, waiting)
  uppy.on('upload-success', (file, answer) => arrived.add({ name: file.name, size: file.size, url: answer.uploadURL }))
  uppy.on('file-removed', () => waiting.over())
  for (const moment of ['restored', 'files-added', 'file-removed']) uppy.on(moment, () => goOn(uppy))
  return uppy
}

/** What was restored goes on once each video's bytes are there: those too large to keep have to be picked again first. */
function goOn(uppy) {
  if (!uppy.getState().recoveredState || uppy.getFiles().some((each) => each.isGhost)) return
  uppy.emit('restore-confirmed')
}

function useTus(uppy, uploads, waiting) {
  const parts = new PartSize(window.localStorage, uploads)
  uppy.use(Tus, {
    endpoint: uploads,
    chunkSize: parts.bytes,
    retryDelays: RETRIES,
    removeFingerprintOnSuccess: true,
    onShouldRetry: (error, attempt, options, standard) => {
      const status = error.originalResponse?.getStatus() ?? 0
      if (status === 413) {
        const running = Object.values(uppy.getPlugin('Tus').uploaders).filter((each) => each)
        if (!parts.halve(Math.max(...running.map((each) => each.file.size)))) return false
        uppy.getPlugin('Tus').setOptions({ chunkSize: parts.bytes })
        for (const each of running) each.options.chunkSize = parts.bytes
        return true
      }
      // what is left may be the removal of a cancelled upload: nobody waits for that
      if ((status === 0 || status >= 500) && uppy.getFiles().length > 0) waiting.forServer()
      return standard(error, attempt, options)
    },
    onAfterResponse: (request, response) => {
      if (response.getStatus() < 500) waiting.over()
    },
  })
}
