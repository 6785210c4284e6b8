import '@uppy/core/css/style.min.css'
import '@uppy/dashboard/css/style.min.css'
import '@uppy/screen-capture/css/style.min.css'
import '@uppy/webcam/css/style.min.css'
import './index.css'
import { Arrived } from './arrived.js'
import { Keeping } from './keeping.js'
import { listed } from './listed.js'
import { Pictures } from './pictures.js'
import { Speed } from './speed.js'
import { uploader } from './uploader.js'
import { Waiting } from './waiting.js'

const uploads = new URL(document.querySelector('meta[name="uploads"]').content, document.baseURI).href
const arrived = new Arrived(document.getElementById('arrived'), document.getElementById('videos'))
const waiting = new Waiting(document.getElementById('waiting'))

document.getElementById('origin').textContent = location.host
listed(document.getElementById('drop'))
const uppy = uploader({ uploads, target: '#drop', arrived, waiting })
new Keeping(uppy)
new Pictures(uppy)
new Speed(uppy, document.getElementById('speed'))
