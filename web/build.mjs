// Bundle each page here (NAME.html with src/NAME.js) into tusserver/page/built/, compressed as well, or say what is too big.
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('.', import.meta.url))
const out = join(here, '..', 'tusserver', 'page', 'built')
const MOST = 500 * 1000 // bytes of a first load, gzipped

async function bundled(name) {
  const result = await build({
    entryPoints: [join(here, 'src', `${name}.js`)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['chrome110', 'firefox115', 'safari16.4'],
    entryNames: '[name]-[hash]',
    loader: { '.svg': 'dataurl' },
    outdir: out,
    write: false,
  })
  return result.outputFiles.map(({ path, contents }) => ({ name: basename(path), contents }))
}

async function page(name) {
  const files = await bundled(name)
  const named = (end) => `page/${files.find((each) => each.name.endsWith(end)).name}`
  const markup = await readFile(join(here, `${name}.html`), 'utf8')
  const html = markup.replace('{script}', named('.js')).replace('{style}', named('.css'))
  return [...files, { name: `${name}.html`, contents: Buffer.from(html) }]
}

const names = (await readdir(here)).filter((each) => each.endsWith('.html')).map((each) => basename(each, '.html'))
const pages = new Map()
for (const name of names) pages.set(name, await page(name))

await rm(out, { recursive: true, force: true })
await mkdir(out, { recursive: true })
for (const [name, files] of pages) {
  let total = 0
  for (const file of files) {
    const small = gzipSync(file.contents, { level: 9 })
    total += small.length
    await writeFile(join(out, file.name), file.contents)
    if (!file.name.endsWith('.html')) await writeFile(join(out, `${file.name}.gz`), small)
  }
  console.log(`${name}: first load ${Math.ceil(total / 1000)} KB gzipped, at most ${MOST / 1000}`)
  if (total > MOST) {
    console.error(`${name} is too big: leave something out of web/src.`)
    process.exitCode = 1
  }
}
