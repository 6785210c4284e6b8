import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import Tus from '@uppy/tus'

const endpoint = new URLSearchParams(location.search).get('endpoint')
window.uppy = new Uppy().use(Dashboard, { inline: true, target: 'body' }).use(Tus, { endpoint })
